//! Redis Cluster's hash slots: CRC16 of the key, or of its hash tag, modulo 16,384.

/// How many slots there are.
pub(super) const SLOTS: u16 = 16384;

const TABLE: [u16; 256] = table();

/// CRC16/XMODEM: polynomial 0x1021, nothing reflected, initial value 0.
const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

fn crc16(bytes: &[u8]) -> u16 {
    let next = |crc: u16, &byte: &u8| {
        let at = usize::from((crc >> 8) as u8 ^ byte);
        (crc << 8) ^ TABLE.get(at).copied().unwrap_or_default()
    };
    bytes.iter().fold(0, next)
}

/// The slot of a key: of what is between its first `{` and the next `}`, if that is not empty.
pub(super) fn of_key(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&b| b == b'{')?;
    let tag = key.get(open + 1..)?;
    let close = tag.iter().position(|&b| b == b'}')?;
    tag.get(..close).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [
            (&b"foo"[..], 12182),
            (b"{foo}a", 12182),
            (b"x{foo}", 12182),
            (b"foo{}{bar}", 8363),
            (b"", 0),
            (b"{foo", of_key(b"{foo")),
        ] {
            assert_eq!(of_key(key), slot, "{}", key.escape_ascii());
        }
        assert_ne!(of_key(b"{foo"), 12182);
    }
}
