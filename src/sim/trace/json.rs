//! As much of JSON as a trace needs: objects of numbers, flags, strings, lists and objects.

use core::fmt::{self, Write};
use std::string::String;

/// An object, or a list, that is being written to the end of a string.
pub(super) struct Json<'a> {
    out: &'a mut String,
    close: char,
    empty: bool,
}

impl<'a> Json<'a> {
    /// Begins an object; it ends when this is dropped.
    pub(super) fn object(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, close: '}', empty: true }
    }

    /// Begins a list.
    fn list(out: &'a mut String) -> Self {
        out.push('[');
        Self { out, close: ']', empty: true }
    }

    /// A number: its digits are JSON's.
    pub(super) fn number(&mut self, name: &str, value: impl Into<i128>) -> &mut Self {
        self.name(name);
        self.digits(value.into());
        self
    }

    /// A flag.
    pub(super) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.out.push_str(if value { "true" } else { "false" });
        self
    }

    /// A string.
    pub(super) fn text(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.name(name);
        self.string(value);
        self
    }

    /// A number, or nothing known.
    pub(super) fn maybe(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => {
                self.name(name);
                self.out.push_str("null");
                self
            }
        }
    }

    /// An object within this one.
    pub(super) fn inner(&mut self, name: &str, write: impl FnOnce(&mut Json<'_>)) -> &mut Self {
        self.name(name);
        write(&mut Json::object(self.out));
        self
    }

    /// A list of numbers.
    pub(super) fn numbers(&mut self, name: &str, values: impl IntoIterator<Item = u64>) -> &mut Self {
        self.each(name, values, |list, value| list.digits(value.into()))
    }

    /// A list of strings.
    pub(super) fn texts<T: fmt::Display>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> &mut Self {
        self.each(name, values, |list, value| list.string(value))
    }

    /// A list of objects.
    pub(super) fn objects<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Json<'_>, T),
    ) -> &mut Self {
        self.each(name, values, |list, value| write(&mut Json::object(list.out), value))
    }

    fn each<T>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Json<'_>, T),
    ) -> &mut Self {
        self.name(name);
        let mut list = Json::list(self.out);
        for value in values {
            list.comma();
            write(&mut list, value);
        }
        drop(list);
        self
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
    }

    fn name(&mut self, name: &str) {
        self.comma();
        self.string(name);
        self.out.push(':');
    }

    fn digits(&mut self, value: i128) {
        // A string takes all that is written to it.
        let _ = write!(self.out, "{value}");
    }

    fn string(&mut self, value: impl fmt::Display) {
        self.out.push('"');
        let _ = write!(Escaping(self.out), "{value}");
        self.out.push('"');
    }
}

impl Drop for Json<'_> {
    fn drop(&mut self) {
        self.out.push(self.close);
    }
}

/// Escapes what JSON's strings may not hold (RFC 8259 §7), and what would end the script of a page that holds them.
struct Escaping<'a>(&'a mut String);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '"' | '\\' => self.0.extend(['\\', char]),
                '\n' => self.0.push_str("\\n"),
                // Line separators end a line for some readers, and '<' may begin a tag.
                '\0'..='\x1f' | '\x7f' | '<' | '\u{2028}' | '\u{2029}' => {
                    write!(self.0, "\\u{:04x}", u32::from(char))?;
                }
                _ => self.0.push(char),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_string_holds_it_stays_one_string_on_one_line() {
        let mut out = String::new();
        Json::object(&mut out).text("a\"b", "\\ \" \n \r \t \0 \u{7f} </script> \u{2028} ünï 🦀");
        let expected = r#"{"a\"b":"\\ \" \n \u000d \u0009 \u0000 \u007f \u003c/script> \u2028 ünï 🦀"}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn objects_and_lists_nest() {
        let mut out = String::new();
        Json::object(&mut out)
            .number("n", u64::MAX)
            .number("z", -5i64)
            .flag("yes", true)
            .maybe("none", None)
            .numbers("ns", [1, 2])
            .numbers("empty", [])
            .inner("o", |o| {
                o.texts("ts", ["x", "y"]);
            })
            .objects("os", [1u64, 2], |o, v| {
                o.number("v", v);
            });
        let expected = concat!(
            r#"{"n":18446744073709551615,"z":-5,"yes":true,"none":null,"ns":[1,2],"empty":[],"#,
            r#""o":{"ts":["x","y"]},"os":[{"v":1},{"v":2}]}"#
        );
        assert_eq!(out, expected);
    }
}
