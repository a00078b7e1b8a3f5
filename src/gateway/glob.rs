//! Patterns as CONFIG GET and COMMAND LIST take them: `*`, `?`, and everything else literally, in any case.

/// Nothing fits a longer pattern: no name needs one, and one of megabytes would take long to hold against all names.
const MAX_PATTERN: usize = 1024;

/// Whether `text` fits `pattern`. At most `pattern × text` steps.
pub(super) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on when what was tried since the last star does not fit.
    let mut retry = None;
    while t < text.len() {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                p += 1;
                retry = Some((p, t));
            }
            (Some(wanted), Some(byte)) if *wanted == b'?' || wanted.eq_ignore_ascii_case(byte) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    retry = Some((after, t));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "save", true),
            ("save", "SAVE", true),
            ("max*", "maxmemory-policy", true),
            ("*mem*cy", "maxmemory-policy", true),
            ("*mem*cx", "maxmemory-policy", false),
            ("s?ve", "save", true),
            ("s?ve", "sve", false),
            ("", "a", false),
            ("a", "", false),
            ("**a**", "bab", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert_eq!(
            [MAX_PATTERN, MAX_PATTERN + 1].map(|stars| fits(&b"*".repeat(stars), b"a")),
            [true, false]
        );
    }
}
