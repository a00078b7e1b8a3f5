//! Redis's glob patterns: `*`, `?`, `[abc]`, `[^a-z]`, and `\` before a byte that stands for itself.

/// Whether all of `text` fits `pattern`. Each step is taken off `budget`; `None` when it is used up.
///
/// Only the last `*` met is ever tried again: whatever an earlier one could take, the later one can take as well. So the
/// cost is at most the product of the two lengths, where trying every `*` again would be exponential.
pub(super) fn matches(pattern: &[u8], text: &[u8], budget: &mut u64) -> Option<bool> {
    if text.is_empty() {
        // Redis looks at a pattern only while there is text, and knows `*` alone beforehand.
        return Some(matches!(pattern, b"" | b"*"));
    }
    let (mut pattern, mut text) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        *budget = budget.checked_sub(1)?;
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return Some(true);
            }
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        let Some((&byte, after)) = text.split_first() else {
            return Some(pattern.is_empty());
        };
        let (fits, rest) = one(pattern, byte);
        *budget = budget.checked_sub(pattern.len().abs_diff(rest.len()) as u64)?;
        if fits {
            (pattern, text) = (rest, after);
            continue;
        }
        let Some((from, [_, shorter @ ..])) = retry else { return Some(false) };
        retry = Some((from, shorter));
        (pattern, text) = (from, shorter);
    }
}

/// Whether `byte` fits the first element of `pattern`, which is not a `*`; and what comes after that.
fn one(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    match pattern {
        [] => (false, pattern),
        [b'?', rest @ ..] => (true, rest),
        [b'[', b'^', rest @ ..] => {
            let (found, rest) = class(rest, byte);
            (!found, rest)
        }
        [b'[', rest @ ..] => class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte, rest),
        [literal, rest @ ..] => (*literal == byte, rest),
    }
}

/// Whether `byte` is in the class that begins after its bracket; and what comes after it. A class without an end goes to
/// the end of the pattern.
fn class(mut pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let mut found = false;
    loop {
        pattern = match pattern {
            [] => return (found, pattern),
            [b'\\', escaped, rest @ ..] => {
                found |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => return (found, rest),
            [from, b'-', to, rest @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                rest
            }
            [member, rest @ ..] => {
                found |= *member == byte;
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use alloc::vec::Vec;

    fn fits(pattern: &[u8], text: &[u8]) -> bool {
        let mut budget = u64::MAX;
        matches(pattern, text, &mut budget).unwrap()
    }

    #[test]
    fn patterns_are_redis_own() {
        let yes: [(&str, &str); 26] = [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("h?llo", "hello"),
            ("h*llo", "hllo"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("h\\*llo", "h*llo"),
            ("h\\?llo", "h?llo"),
            ("[\\]]", "]"),
            ("[\\-x]", "-"),
            ("[a-]", "^"),
            ("[a", "a"),
            ("[^", "x"),
            ("a\\", "a\\"),
            ("**a**", "xxaxx"),
            ("*a*b*c", "aabbcc"),
            ("user:*:name", "user:1:2:name"),
            ("a*", "a"),
            ("a**", "a"),
            ("[^]", "x"),
            ("?*?", "ab"),
            ("*.*", "a.b.c"),
        ];
        for (pattern, text) in yes {
            assert!(fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no: [(&str, &str); 15] = [
            ("**", ""),
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("h\\*llo", "hello"),
            ("[]a]", "a"),
            ("[", "["),
            ("hello", "Hello"),
            ("*a", "ab"),
            ("a*b", "acbc"),
            ("?*?", "a"),
            ("[a-c]", "-"),
        ];
        for (pattern, text) in no {
            assert!(!fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    /// The definition, without any care for its cost.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            _ => text.split_first().is_some_and(|(&byte, after)| {
                let (fits, rest) = one(pattern, byte);
                fits && slow(rest, after)
            }),
        }
    }

    #[test]
    fn the_fast_way_agrees_with_the_definition() {
        let mut rng = Rng::new(11);
        let mut draw = |alphabet: &[u8], most: u64| -> Vec<u8> {
            (0..rng.below(most)).map(|_| alphabet[rng.below(alphabet.len() as u64) as usize]).collect()
        };
        for _ in 0..50_000 {
            let (pattern, text) = (draw(b"ab**?[]^-\\", 9), draw(b"ab-]", 7));
            // But for two stars and no text, where Redis is not as one expects.
            if !text.is_empty() {
                assert_eq!(fits(&pattern, &text), slow(&pattern, &text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn the_cost_is_bounded_by_the_product_of_the_lengths() {
        let (pattern, text) = (b"a*".repeat(40), b"a".repeat(200));
        let pattern = [&pattern[..], b"b"].concat();
        let mut budget = 2 * (pattern.len() * text.len()) as u64;
        assert_eq!(matches(&pattern, &text, &mut budget), Some(false));
        assert_eq!(matches(&pattern, &text, &mut 50), None);
    }
}
