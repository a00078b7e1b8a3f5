//! What clients say to the key-value store: lines, and how often each is drawn.
//!
//! Keys come in families, and no command joins two of them. The search for a linearization looks at keys together that a command
//! has joined, and not at all at those that ever got a deadline; so a family has what belongs together, and the plain
//! keys, at which it sees most, stay each for itself.
//!
//! | word | is |
//! | --- | --- |
//! | `$key`, `$other` | plain keys |
//! | `$counter` | a key of whole numbers |
//! | `$float` | a key of halves and quarters, whose sums have no rounding |
//! | `$bits` | a key whose bits are set |
//! | `$moved`, `$goal` | keys that are renamed, copied, and set together |
//! | `$swap` | a key whose value is replaced if it is the one that the client has seen last, `$seen` |
//! | `$mortal`, `$heir` | keys that get deadlines |
//! | `$value`, `$same` | a value that no other write has; the one before once more |
//! | `$soon`, `$late` | milliseconds that pass in most runs; seconds that pass in none |
//! | `$cursor` | where the client's iteration of SCAN goes on |
//! | `$by`, `$quarter`, `$few`, `$bit` | numbers |

/// A line, and its share among the lines of its table.
pub(super) type Line = (u64, &'static str);

pub(super) const WRITES: &[Line] = &[
    (4, "APPEND $key $value"),
    (3, "INCR $counter"),
    (1, "INCRBY $counter $by"),
    (2, "SET $key $value"),
    (1, "SET $key $value NX GET"),
    (1, "SETNX $key $value"),
    (1, "GETDEL $key"),
    (1, "DEL $key $other"),
    (1, "MSET $key $value $other $same pair $same"),
    (1, "GETSET $key $value"),
];

pub(super) const READS: &[Line] = &[
    (5, "GET $key"),
    (1, "GET $counter"),
    (1, "STRLEN $key"),
    (1, "EXISTS $key $other"),
    (1, "MGET $key pair $other"),
    (1, "GETRANGE $key -9 -1"),
    (1, "SCAN 0 COUNT 1000"),
    (1, "SCAN $cursor COUNT $few"),
    (1, "DBSIZE"),
];

pub(super) const MORE_WRITES: &[Line] = &[
    (8, "SET $mortal $value PX $soon"),
    (2, "SET $mortal $value EX $late"),
    (2, "SET $mortal $value KEEPTTL GET"),
    (2, "SET $mortal $value XX EX $late GET"),
    (2, "SET $mortal $value NX PX $soon"),
    (1, "SET $mortal $value PXAT 1"),
    (2, "SET $mortal $value"),
    (1, "SETEX $mortal $late $value"),
    (2, "PSETEX $mortal $soon $value"),
    (6, "APPEND $mortal $value"),
    (3, "PEXPIRE $mortal $soon"),
    (2, "PEXPIRE $mortal $soon LT"),
    (2, "EXPIRE $mortal $late GT"),
    (2, "EXPIRE $mortal $late NX"),
    (1, "PEXPIREAT $mortal 1"),
    (1, "EXPIREAT $mortal 4102444800 XX"),
    (3, "PERSIST $mortal"),
    (3, "GETEX $mortal PX $soon"),
    (1, "GETEX $mortal EX $late"),
    (1, "GETEX $mortal PERSIST"),
    (1, "GETEX $mortal"),
    (1, "GETDEL $mortal"),
    (2, "DEL $mortal $heir"),
    (2, "MSETEX 2 $mortal $value $heir $same PX $soon NX"),
    (2, "MSETEX 2 $mortal $value $heir $same KEEPTTL XX"),
    (2, "COPY $mortal $heir REPLACE"),
    (2, "RENAME $mortal $heir"),
    (8, "SET $swap $value IFEQ $seen GET"),
    (2, "SET $swap $value IFNE $seen"),
    (2, "SET $swap $value"),
    (2, "DELEX $swap IFEQ $seen"),
    (1, "DELEX $swap IFNE $seen"),
    (4, "MSETNX $moved $value $goal $same"),
    (2, "MSETEX 2 $moved $value $goal $same XX"),
    (4, "APPEND $moved $value"),
    (4, "RENAME $moved $goal"),
    (3, "RENAMENX $moved $goal"),
    (2, "COPY $moved $goal DB 0"),
    (2, "COPY $moved $goal REPLACE"),
    (2, "UNLINK $moved $goal"),
    (1, "DELEX $moved"),
    (6, "SETBIT $bits $bit 1"),
    (3, "SETBIT $bits $bit 0"),
    (1, "SETRANGE $bits $few $value"),
    (4, "INCRBYFLOAT $float $quarter"),
    (1, "FLUSHALL"),
];

pub(super) const MORE_READS: &[Line] = &[
    (6, "GET $mortal"),
    (2, "MGET $mortal $heir"),
    (2, "EXISTS $mortal $heir"),
    (1, "TYPE $mortal"),
    (1, "TOUCH $mortal"),
    (2, "TTL $mortal"),
    (3, "PTTL $mortal"),
    (1, "EXPIRETIME $mortal"),
    (2, "PEXPIRETIME $mortal"),
    (6, "GET $swap"),
    (2, "GET $moved"),
    (2, "MGET $moved $goal"),
    (1, "TYPE $key"),
    (1, "SUBSTR $key 0 3"),
    (1, "LCS $key $other LEN"),
    (1, "LCS $moved $goal IDX MINMATCHLEN $few WITHMATCHLEN"),
    (2, "GETBIT $bits $bit"),
    (1, "BITCOUNT $bits"),
    (1, "BITCOUNT $bits $few -$few BIT"),
    (1, "BITPOS $bits 1"),
    (1, "BITPOS $bits 0 $few"),
    (1, "GET $float"),
    (1, "KEYS *"),
    (1, "KEYS k*"),
    (1, "RANDOMKEY"),
];

/// Of each family a line with a value that no other write has.
pub(super) const UNIQUE: [Line; 2] = [(1, "APPEND $moved $value"), (1, "APPEND $mortal $value")];

/// What is said in a transaction, which joins its keys: of one family.
pub(super) const TOGETHER: [&[Line]; 2] = [
    &[
        (2, "SET $moved $value"),
        (3, "APPEND $moved $value"),
        (1, "GETDEL $moved"),
        (1, "RENAME $moved $goal"),
        (2, "GET $moved"),
        (1, "INCR $moved"),
    ],
    &[
        (2, "SET $mortal $value PX $soon"),
        (2, "APPEND $mortal $value"),
        (1, "PEXPIRE $mortal $soon"),
        (1, "PERSIST $mortal"),
        (1, "PTTL $mortal"),
        (2, "GET $mortal"),
        (1, "DBSIZE"),
    ],
];
