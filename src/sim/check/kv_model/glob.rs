//! Redis's patterns, matched by following all possibilities at once.

use std::vec::Vec;

/// One element of a pattern.
#[derive(Debug)]
enum Element {
    /// `*`.
    Any,
    /// What one byte must be in, or must not: a literal, `?`, or a class. Ranges include both ends.
    One { ranges: Vec<(u8, u8)>, is_negated: bool },
}

/// A pattern.
#[derive(Debug)]
pub(super) struct Glob {
    elements: Vec<Element>,
    /// What Redis says of the empty text: that only no pattern, and a star that stands alone, fit it.
    fits_nothing: bool,
}

impl Glob {
    pub(super) fn new(mut pattern: &[u8]) -> Self {
        let fits_nothing = matches!(pattern, b"" | b"*");
        let mut elements = Vec::new();
        let literal = |byte| Element::One { ranges: std::vec![(byte, byte)], is_negated: false };
        while let Some((&byte, mut rest)) = pattern.split_first() {
            elements.push(match (byte, rest.first()) {
                (b'*', _) => Element::Any,
                (b'?', _) => Element::One { ranges: Vec::new(), is_negated: true },
                (b'\\', Some(&escaped)) => {
                    rest = &rest[1..];
                    literal(escaped)
                }
                (b'[', first) => {
                    let is_negated = first == Some(&b'^');
                    rest = &rest[usize::from(is_negated)..];
                    Element::One { ranges: class(&mut rest), is_negated }
                }
                _ => literal(byte),
            });
            pattern = rest;
        }
        Self { elements, fits_nothing }
    }

    /// Whether all of `text` fits.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return self.fits_nothing;
        }
        // `reached[n]`: what was read fits the first n elements.
        let mut reached = std::vec![false; self.elements.len() + 1];
        reached[0] = true;
        self.skip_stars(&mut reached);
        for &byte in text {
            let mut next = std::vec![false; reached.len()];
            for (at, element) in self.elements.iter().enumerate().filter(|&(at, _)| reached[at]) {
                match element {
                    Element::Any => next[at] = true,
                    Element::One { ranges, is_negated } => {
                        let found = ranges.iter().any(|&(from, to)| (from..=to).contains(&byte));
                        next[at + 1] |= found != *is_negated;
                    }
                }
            }
            self.skip_stars(&mut next);
            reached = next;
        }
        reached[self.elements.len()]
    }

    /// A star fits nothing, too.
    fn skip_stars(&self, reached: &mut [bool]) {
        for (at, element) in self.elements.iter().enumerate() {
            if reached[at] && matches!(element, Element::Any) {
                reached[at + 1] = true;
            }
        }
    }
}

/// The ranges of a class, up to its bracket or, where there is none, the end of the pattern.
fn class(pattern: &mut &[u8]) -> Vec<(u8, u8)> {
    let mut ranges = Vec::new();
    while let Some((&byte, rest)) = pattern.split_first() {
        *pattern = rest;
        match (byte, rest) {
            (b'\\', [escaped, rest @ ..]) => {
                ranges.push((*escaped, *escaped));
                *pattern = rest;
            }
            (b']', _) => break,
            (from, [b'-', to, rest @ ..]) => {
                ranges.push((from.min(*to), from.max(*to)));
                *pattern = rest;
            }
            (byte, _) => ranges.push((byte, byte)),
        }
    }
    ranges
}
