//! Episodes: sequences of commands that begin with no keys and new connections.

use std::fmt;

use quorate::codec::resp::write;
use quorate::rng::Rng;

use super::arguments::{pick, recased, stray};
use super::commands::{CLUSTER, CONTROL, Compare, DATA, Form, MORTAL, OTHERS, Opt, QUEUED, UNKNOWN};

/// A command, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Which of the two connections sends it.
    pub(crate) connection: usize,
    pub(crate) words: Vec<Vec<u8>>,
    /// As a line instead of an array.
    pub(crate) inline: bool,
    /// What its success counts for.
    pub(crate) counts: Vec<String>,
    pub(crate) compare: Compare,
}

impl Command {
    pub(crate) fn plain(words: &[&str]) -> Self {
        Self {
            connection: 0,
            words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
            inline: false,
            counts: Vec::new(),
            compare: Compare::Exact,
        }
    }

    fn counted(words: &[&str]) -> Self {
        Self { counts: vec![words[0].to_lowercase()], ..Self::plain(words) }
    }

    /// Whether nothing else may be under way beside it.
    pub(crate) fn is_alone(&self) -> bool {
        !matches!(self.compare, Compare::Exact | Compare::Near(_) | Compare::Time | Compare::Set)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.words.first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Its subcommand's name is this.
    pub(crate) fn is_sub(&self, name: &str, subcommand: &str) -> bool {
        self.is(name) && self.words.get(1).is_some_and(|w| w.eq_ignore_ascii_case(subcommand.as_bytes()))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.inline {
            for word in &self.words {
                bytes.push(b'"');
                for &byte in word {
                    match byte {
                        b'"' | b'\\' => bytes.extend([b'\\', byte]),
                        b' '..=b'~' => bytes.push(byte),
                        _ => bytes.extend(format!("\\x{byte:02x}").bytes()),
                    }
                }
                bytes.extend(b"\" ");
            }
            bytes.extend(b"\r\n");
        } else {
            write::request(&mut bytes, &self.words);
        }
        bytes
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            ["", "(second connection) "][self.connection],
            if self.inline { "(inline)" } else { "" }
        )?;
        for word in &self.words {
            match word.len() {
                0..200 => write!(f, " \"{}\"", word.escape_ascii())?,
                length => write!(f, " ({length} bytes, the first \"{}\")", word[..1].escape_ascii())?,
            }
        }
        Ok(())
    }
}

/// What an episode is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys, transactions, and the connection.
    Mixed,
    /// Keys and transactions alone.
    Keys,
    /// A key under WATCH.
    Watch,
    /// What a server that is part of a cluster answers.
    Cluster,
    /// Bytes that may be no commands.
    Bytes,
}

/// Draws commands.
pub(crate) struct Generator {
    rng: Rng,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::stream(seed, 0xc0) }
    }

    pub(crate) fn episode(&mut self, kind: Kind, length: usize) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.rng.chance(3, 4) {
            commands.push(Command::plain(&["HELLO", "3"]));
        }
        while commands.len() < length {
            match kind {
                Kind::Cluster | Kind::Bytes | Kind::Watch => commands.push(self.one(CLUSTER)),
                Kind::Mixed | Kind::Keys if self.rng.chance(1, 60) => self.transaction(&mut commands),
                Kind::Keys => commands.push(self.one(DATA)),
                Kind::Mixed => commands.push(self.anything()),
            }
        }
        commands
    }

    fn anything(&mut self) -> Command {
        match self.rng.below(400) {
            0..5 => self.one(MORTAL),
            5..8 => self.one(UNKNOWN),
            8..10 => self.one(OTHERS),
            10..70 => self.one(CONTROL),
            _ => self.one(DATA),
        }
    }

    /// A command of these forms.
    fn one(&mut self, forms: &[Form]) -> Command {
        let total = forms.iter().map(|form| form.weight).sum();
        let mut left = self.rng.below(total);
        let drawn = forms.iter().find(|form| match left.checked_sub(form.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        self.draw(drawn.expect("less than all weights"))
    }

    /// A command of the data that may be under way beside others.
    fn beside(&mut self, connection: usize) -> Option<Command> {
        let command = self.one(DATA);
        (!command.is_alone()).then_some(Command { connection, ..command })
    }

    fn draw(&mut self, form: &Form) -> Command {
        let may_fail = form.compare != Compare::Mortal && self.rng.chance(1, 4);
        let mut command = if may_fail { self.perhaps_wrong(form) } else { self.right(form) };
        for word in command.words.iter_mut().take(2) {
            if form.name.split(' ').any(|name| word.eq_ignore_ascii_case(name.as_bytes())) {
                *word = recased(word, &mut self.rng);
            }
        }
        command.inline = self.rng.chance(1, 12) && command.words.iter().map(Vec::len).sum::<usize>() < 1000;
        command
    }

    /// A command whose arguments are as they should be, and which may yet fail for the key's sake.
    fn right(&mut self, form: &Form) -> Command {
        let mut command = self.begin(form);
        for _ in 0..if form.more.is_empty() { 0 } else { self.rng.below(4) } {
            command.words.extend(form.more.iter().map(|argument| argument.good(&mut self.rng)));
        }
        let mut options: Vec<Opt> = Vec::new();
        for _ in 0..self.rng.below(4) {
            if form.options.is_empty() {
                break;
            }
            let option = pick(&mut self.rng, form.options);
            let excluded =
                options.iter().any(|o| o.word == option.word || (o.group == option.group && o.group > 0));
            if !excluded {
                options.push(option);
            }
        }
        for option in options {
            command.counts.push(format!("{} {}", form.name, option.word));
            command.words.push(recased(option.word.as_bytes(), &mut self.rng));
            command.words.extend(option.arguments.iter().map(|argument| argument.good(&mut self.rng)));
        }
        command
    }

    fn begin(&mut self, form: &Form) -> Command {
        let mut words: Vec<_> = form.name.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        words.extend(form.arguments.iter().map(|argument| argument.good(&mut self.rng)));
        let counts = if form.fails { Vec::new() } else { vec![form.label.to_owned()] };
        Command { connection: 0, words, inline: false, counts, compare: form.compare }
    }

    /// A command with something odd about it: an argument, their number, or options that exclude each other or come twice.
    fn perhaps_wrong(&mut self, form: &Form) -> Command {
        let mut command = self.right(form);
        command.counts.clear();
        let name = form.name.split(' ').count();
        for _ in 0..1 + self.rng.below(2) {
            let at = name + usize::try_from(self.rng.below(form.arguments.len() as u64)).unwrap();
            match self.rng.below(8) {
                0 if command.words.len() > name => {
                    let at = self.rng.below((command.words.len() - name) as u64);
                    command.words.remove(name + usize::try_from(at).unwrap());
                }
                1 => command.words.push(stray(&mut self.rng)),
                2 => command.words.truncate(name),
                3..5 if !form.options.is_empty() => {
                    let option = pick(&mut self.rng, form.options);
                    command.words.push(option.word.as_bytes().to_vec());
                    command.words.extend(option.arguments.iter().map(|argument| {
                        if self.rng.chance(1, 2) {
                            argument.odd(&mut self.rng)
                        } else {
                            argument.good(&mut self.rng)
                        }
                    }));
                }
                _ if at < command.words.len() && at - name < form.arguments.len() => {
                    command.words[at] = form.arguments[at - name].odd(&mut self.rng);
                }
                _ => {}
            }
        }
        command
    }

    /// MULTI … EXEC, with everything that may go wrong with it.
    fn transaction(&mut self, out: &mut Vec<Command>) {
        let mut others = self.rng.chance(1, 2);
        if self.rng.chance(1, 2) {
            others = self.watch(out);
        }
        if self.rng.chance(1, 12) {
            out.push(Command::plain(&[pick(&mut self.rng, &["EXEC", "DISCARD"])]));
            // Neither has forgotten what is watched, and what is not there may come and go before the next EXEC.
            return out.push(Command::plain(&["UNWATCH"]));
        }
        out.push(Command::counted(&["MULTI"]));
        let wrong = self.rng.chance(1, 6);
        for _ in 0..self.rng.below(7) {
            let queued = match self.rng.below(20) {
                0 => self.one(QUEUED),
                1 if wrong => self.one(UNKNOWN),
                2 if wrong => Command::plain(pick(
                    &mut self.rng,
                    &[&["GET"][..], &["MULTI"], &["WATCH", "a"], &["EXEC", "a"]],
                )),
                3 => Command::counted(&["UNWATCH"]),
                _ => self.one(DATA),
            };
            out.extend((!queued.is_alone()).then_some(queued));
            if others && self.rng.chance(1, 20) {
                out.extend(self.beside(1));
            }
        }
        let end = if self.rng.chance(1, 6) { "DISCARD" } else { "EXEC" };
        out.push(Command::counted(&[end]));
    }

    /// WATCH, with keys that are there or not, and what changes them or does not. Whether more may happen to them.
    fn watch(&mut self, out: &mut Vec<Command>) -> bool {
        let there = self.rng.chance(2, 3);
        let before =
            if there { &["MSET", "a", "1", "b", "2", "c", "3"][..] } else { &["DEL", "a", "b", "c"] };
        out.push(Command::plain(before));
        let keys = ["a", "b", "c"];
        let keys = &keys[..1 + usize::try_from(self.rng.below(3)).unwrap()];
        out.push(Command::counted(&[&["WATCH"][..], keys].concat()));
        if there {
            for _ in 0..self.rng.below(3) {
                out.extend(self.beside(0));
            }
            if self.rng.chance(1, 2) {
                out.extend(self.beside(1));
            }
        } else {
            // What is made and deleted again is another matter: see the row `watch-made-and-deleted` of the page.
            const ONE: &[&[&str]] =
                &[&["SET", "a", "x"], &["INCR", "b"], &["GET", "a"], &["DEL", "a"], &["STRLEN", "c"]];
            let connection = usize::try_from(self.rng.below(2)).unwrap();
            out.push(Command { connection, ..Command::plain(pick(&mut self.rng, ONE)) });
        }
        if self.rng.chance(1, 5) {
            out.push(Command::counted(&["UNWATCH"]));
        }
        there
    }
}
