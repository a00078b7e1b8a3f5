//! What is newer than Redis 7.0, by vectors written from Redis's documentation: scripts, and the replies to them.

/// One script, which begins with no keys: commands with their replies, in which `|` stands for a line's end.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) lines: &'static [(&'static str, &'static str)],
}

const OK: &str = "+OK|";
const NULL: &str = "$-1|";
const SYNTAX: &str = "-ERR syntax error|";

pub(crate) const SCRIPTS: &[Script] = &[
    Script {
        name: "SET IFEQ",
        lines: &[
            ("SET k new IFEQ old", NULL),
            ("EXISTS k", ":0|"),
            ("SET k old", OK),
            ("SET k new IFEQ other", NULL),
            ("GET k", "$3|old|"),
            ("SET k new IFEQ old", OK),
            ("GET k", "$3|new|"),
            ("SET k '' ifeq new", OK),
            ("SET k back IFEQ ''", OK),
            ("GET k", "$4|back|"),
        ],
    },
    Script {
        name: "SET IFNE",
        lines: &[
            ("SET k one IFNE one", OK),
            ("GET k", "$3|one|"),
            ("SET k two IFNE one", NULL),
            ("GET k", "$3|one|"),
            ("SET k two IFNE other", OK),
            ("GET k", "$3|two|"),
            ("SET absent x IFNE ''", OK),
        ],
    },
    Script {
        name: "SET IFEQ GET",
        lines: &[
            ("SET k v IFEQ x GET", NULL),
            ("EXISTS k", ":0|"),
            ("SET k v IFNE x GET", NULL),
            ("SET k w IFEQ x GET", "$1|v|"),
            ("SET k w IFEQ v GET", "$1|v|"),
            ("SET k u GET IFNE v", "$1|w|"),
            ("GET k", "$1|u|"),
        ],
    },
    Script {
        name: "SET IFEQ with a time to live",
        lines: &[
            ("SET k v EX 5000", OK),
            ("SET k w IFEQ x EX 9000", NULL),
            ("EXPIRE k 6000 GT", ":1|"),
            ("SET k w IFEQ v", OK),
            ("TTL k", ":-1|"),
            ("SET k v EX 5000 IFEQ w", OK),
            ("SET k w IFEQ v KEEPTTL", OK),
            ("PERSIST k", ":1|"),
            ("SET k v IFEQ w EXAT 4000000000", OK),
            ("EXPIRETIME k", ":4000000000|"),
        ],
    },
    Script {
        name: "SET with conditions that exclude each other",
        lines: &[
            ("SET k v IFEQ", SYNTAX),
            ("SET k v IFNE", SYNTAX),
            ("SET k v IFEQ a IFNE b", SYNTAX),
            ("SET k v IFEQ a NX", SYNTAX),
            ("SET k v XX IFEQ a", SYNTAX),
            ("SET k v IFNE a XX", SYNTAX),
            ("SET k v NX IFNE a", SYNTAX),
            ("EXISTS k", ":0|"),
        ],
    },
    Script {
        name: "DELEX",
        lines: &[
            ("DELEX k", ":0|"),
            ("SET k v", OK),
            ("DELEX k", ":1|"),
            ("EXISTS k", ":0|"),
            ("DELEX", "-ERR wrong number of arguments for 'delex' command|"),
        ],
    },
    Script {
        name: "DELEX IFEQ",
        lines: &[
            ("DELEX k IFEQ v", ":0|"),
            ("SET k v", OK),
            ("DELEX k IFEQ w", ":0|"),
            ("EXISTS k", ":1|"),
            ("DELEX k ifeq v", ":1|"),
            ("EXISTS k", ":0|"),
        ],
    },
    Script {
        name: "DELEX IFNE",
        lines: &[
            ("DELEX k IFNE v", ":0|"),
            ("SET k v", OK),
            ("DELEX k IFNE v", ":0|"),
            ("EXISTS k", ":1|"),
            ("DELEX k IFNE w", ":1|"),
            ("EXISTS k", ":0|"),
        ],
    },
    Script {
        name: "MSETEX",
        lines: &[
            ("MSETEX 2 a 1 b 2", ":1|"),
            ("MGET a b", "*2|$1|1|$1|2|"),
            ("TTL a", ":-1|"),
            ("MSETEX 1 a 3 EXAT 4000000000", ":1|"),
            ("EXPIRETIME a", ":4000000000|"),
            ("MSETEX 1 a 4 PXAT 4000000000123", ":1|"),
            ("PEXPIRETIME a", ":4000000000123|"),
            ("MSETEX 1 a 5 KEEPTTL", ":1|"),
            ("PEXPIRETIME a", ":4000000000123|"),
            ("MSETEX 1 a 6", ":1|"),
            ("TTL a", ":-1|"),
            ("MSETEX 2 a 7 b 8 EX 5000", ":1|"),
            ("PERSIST a", ":1|"),
            ("PERSIST b", ":1|"),
            ("MSETEX 1 a 9 PX 5000000", ":1|"),
            ("PERSIST a", ":1|"),
        ],
    },
    Script {
        name: "MSETEX NX and XX",
        lines: &[
            ("MSETEX 2 a 1 b 2 XX", ":0|"),
            ("MSETEX 1 a 1 NX", ":1|"),
            ("MSETEX 2 a 3 b 4 NX", ":0|"),
            ("MGET a b", "*2|$1|1|$-1|"),
            ("MSETEX 2 a 3 b 4 XX", ":0|"),
            ("MGET a b", "*2|$1|1|$-1|"),
            ("MSETEX 1 b 4 EX 5000 NX", ":1|"),
            ("MSETEX 2 a 5 b 6 xx ex 5000", ":1|"),
            ("MGET a b", "*2|$1|5|$1|6|"),
        ],
    },
    Script {
        name: "MSETEX with errors",
        lines: &[
            ("MSETEX", "-ERR wrong number of arguments for 'msetex' command|"),
            ("MSETEX a 1 EX 10", "-ERR invalid numkeys value|"),
            ("MSETEX 0 a 1", "-ERR invalid numkeys value|"),
            ("MSETEX -1 a 1", "-ERR invalid numkeys value|"),
            ("MSETEX 2147483648 a 1 EX 10", "-ERR invalid numkeys value|"),
            ("MSETEX 2147483647 a 1 EX 10", "-ERR wrong number of key-value pairs|"),
            ("MSETEX 2 a 1 b", "-ERR wrong number of key-value pairs|"),
            ("MSETEX 1 a 1 nonsense", SYNTAX),
            ("MSETEX 1 a 1 NX XX", SYNTAX),
            ("MSETEX 1 a 1 EX 10 PX 10", SYNTAX),
            ("MSETEX 1 a 1 EX 10 KEEPTTL", SYNTAX),
            ("MSETEX 1 a 1 EX 0", "-ERR invalid expire time in 'msetex' command|"),
            ("MSETEX 1 a 1 EX x", "-ERR value is not an integer or out of range|"),
            ("EXISTS a", ":0|"),
        ],
    },
];
