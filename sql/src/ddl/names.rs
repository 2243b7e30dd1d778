//! Names that MySQL does not take: empty ones, long ones, and ones that end in a blank.

use crate::error::{Error, Result};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

fn check(name: &str, wrong: impl Fn(&str) -> Error) -> Result<()> {
    if name.is_empty() || name.ends_with(' ') {
        return Err(wrong(name));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(Error::name_too_long(name));
    }
    Ok(())
}

/// # Errors
/// 1102, 1059.
pub(super) fn check_database(name: &str) -> Result<()> {
    check(name, |name| Error::wrong_database_name(name))
}

/// # Errors
/// 1103, 1059.
pub(super) fn check_table(name: &str) -> Result<()> {
    check(name, |name| Error::wrong_table_name(name))
}

/// # Errors
/// 1166, 1059.
pub(super) fn check_column(name: &str) -> Result<()> {
    check(name, |name| Error::wrong_column_name(name))
}

/// # Errors
/// 1280, 1059.
pub(super) fn check_index(name: &str) -> Result<()> {
    check(name, |name| Error::wrong_index_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_counted_in_characters() {
        assert!(check_table(&"é".repeat(64)).is_ok());
        assert_eq!(check_table(&"é".repeat(65)).unwrap_err().code(), 1059);
        assert_eq!(check_table("").unwrap_err().code(), 1103);
        assert_eq!(check_database("a ").unwrap_err().code(), 1102);
        assert_eq!(check_column(" ").unwrap_err().code(), 1166);
        assert_eq!(check_index("").unwrap_err().code(), 1280);
    }
}
