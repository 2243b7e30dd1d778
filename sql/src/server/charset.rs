//! What a client is sent text in: `character_set_results`.
//!
//! Text is UTF-8 inside; names, messages and cells of text are converted on their way out, and column definitions say what
//! they were converted to:
//!
//! | `character_set_results` | cells of text | names, messages | column definitions |
//! |---|---|---|---|
//! | a character set | converted to it | converted to it | its collation, its width |
//! | NULL | in their column's character set | UTF-8 | the column's collation and width |
//! | `binary` | in their column's character set | UTF-8 | 63, the column's width |

use super::constant::COLLATION_BINARY;
use basalt_expr::charset::Charset;
use basalt_expr::collation::Collation;
use basalt_expr::types::FieldType;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU16, Ordering};

/// `character_set_results`: the collation that column definitions name for it; none for NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultCharset(pub Option<Collation>);

impl Default for ResultCharset {
    fn default() -> ResultCharset {
        ResultCharset(Some(Collation::DEFAULT))
    }
}

impl ResultCharset {
    /// The character set that text is converted to; none where it stays in its own.
    fn target(self) -> Option<Charset> {
        self.0.map(Collation::character_set).filter(|charset| *charset != Charset::Binary)
    }

    /// A name or a message.
    pub fn name(self, text: &str) -> Cow<'_, [u8]> {
        self.target().unwrap_or_default().encode(text)
    }

    /// What cells of a column have to be encoded in; none when their bytes are right as they are.
    pub fn of_cells(self, ty: &FieldType) -> Option<Charset> {
        if !ty.is_string() || ty.is_binary_string() {
            return None;
        }
        let own = ty.collation.character_set();
        let wanted = self.target().unwrap_or(own);
        let same_bytes = wanted.is_utf8() && wanted.holds(own);
        (!same_bytes).then_some(wanted)
    }

    /// The collation and the length that the definition of a text column names; `length` is for four bytes a character.
    pub fn of_column(self, own: u16, length: u32) -> (u16, u32) {
        if own == COLLATION_BINARY {
            return (own, length);
        }
        let own = Collation::from_id(own.into()).unwrap_or(Collation::DEFAULT);
        let width = self.0.unwrap_or(own).character_set().char_bytes_max();
        let length = if length == u32::MAX && width > 1 { length } else { length / 4 * width };
        (self.0.unwrap_or(own).id(), length)
    }
}

/// A [`ResultCharset`] that one side sets while the other reads it.
#[derive(Debug)]
pub(super) struct SharedResultCharset(AtomicU16);

/// No collation's number.
const NONE: u16 = 0;

impl Default for SharedResultCharset {
    fn default() -> SharedResultCharset {
        SharedResultCharset(AtomicU16::new(Collation::DEFAULT.id()))
    }
}

impl SharedResultCharset {
    pub fn get(&self) -> ResultCharset {
        ResultCharset(Collation::from_id(self.0.load(Ordering::Relaxed).into()))
    }

    pub fn set(&self, charset: ResultCharset) {
        self.0.store(charset.0.map_or(NONE, Collation::id), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_name_what_text_is_converted_to() {
        let latin1 = ResultCharset(Some(Collation::Latin1Bin));
        let own = ResultCharset(None);
        let binary = ResultCharset(Some(Collation::Binary));
        let (utf8, swedish) = (Collation::DEFAULT.id(), Collation::Latin1SwedishCi.id());
        for (charset, column, expected) in [
            (ResultCharset::default(), (swedish, 40), (utf8, 40)),
            (latin1, (utf8, 40), (47, 10)),
            (own, (utf8, 40), (utf8, 40)),
            (own, (swedish, 40), (swedish, 10)),
            (binary, (swedish, 40), (63, 10)),
            (latin1, (63, 11), (63, 11)),
        ] {
            assert_eq!(charset.of_column(column.0, column.1), expected, "{charset:?} {column:?}");
        }
    }

    #[test]
    fn cells_are_converted_where_their_bytes_differ() {
        let text = |collation| FieldType::varchar(10).with_collation(collation);
        let (utf8, latin1) = (text(Collation::DEFAULT), text(Collation::Latin1Bin));
        let results = |collation| ResultCharset(Some(collation));
        assert_eq!(results(Collation::DEFAULT).of_cells(&latin1), None);
        assert_eq!(results(Collation::Latin1Bin).of_cells(&utf8), Some(Charset::Latin1));
        assert_eq!(results(Collation::Utf8mb3Bin).of_cells(&utf8), Some(Charset::Utf8mb3));
        assert_eq!(results(Collation::Utf8mb3Bin).of_cells(&latin1), None);
        assert_eq!(results(Collation::Binary).of_cells(&latin1), Some(Charset::Latin1));
        assert_eq!(ResultCharset(None).of_cells(&latin1), Some(Charset::Latin1));
        assert_eq!(ResultCharset(None).of_cells(&utf8), None);
        assert_eq!(results(Collation::Latin1Bin).of_cells(&FieldType::varbinary(10)), None);
    }
}
