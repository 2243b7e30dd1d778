//! The MySQL version that clients are told: it stands here once, and everything else is made of it.

macro_rules! mysql_version {
    () => {
        "8.0.36"
    };
}

/// `@@version` and the greeting's version: libraries decide by its number what they may send.
pub const SERVER_VERSION: &str = concat!(mysql_version!(), "-Basalt-", env!("CARGO_PKG_VERSION"));

/// The number that `/*!NNNNN … */` comments are compared with: 80036 for 8.0.36.
pub const MYSQL_VERSION_ID: u32 = version_id(mysql_version!());

const fn version_id(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let (mut id, mut part, mut at) = (0, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'.' => (id, part) = ((id + part) * 100, 0),
            digit => part = part * 10 + (digit - b'0') as u32,
        }
        at += 1;
    }
    id + part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_version_as_text_and_number() {
        assert_eq!(version_id("8.0.36"), 80_036);
        assert_eq!(version_id("10.11.9"), 101_109);
        assert_eq!(version_id(SERVER_VERSION.split('-').next().unwrap()), MYSQL_VERSION_ID);
    }
}
