//! How firmly an expression has its collation, and which collation several expressions agree on.
//!
//! Expressions of one character set agree on the collation of the firmest. Two that are equally firm agree only on a
//! bytewise one, if either has it; else they have none ([`Coercibility::None`]): they may be joined to a longer text, but
//! not compared with each other. Of two character sets, bytes win unless the other is firmer; Unicode wins unless it is
//! less firm, utf8mb4 over utf8mb3; text that is ASCII by its making goes into any; a constant goes into the other one.

use super::Collation;
use crate::charset::Charset;
use std::fmt::{Display, Formatter};

/// How firmly an expression has its collation, the firmest first; the numbers are those of `COERCIBILITY()`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Coercibility {
    /// COLLATE was written.
    Explicit = 0,
    /// A column's, or that of a conversion.
    Implicit = 2,
    /// A name that the server knows.
    System = 3,
    /// A constant's.
    Coercible = 4,
    /// A number's, were it a text.
    Numeric = 5,
    /// NULL's.
    Ignorable = 6,
    /// Its parts do not agree.
    None = 7,
}

impl Coercibility {
    /// As error messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Coercibility::Explicit => "EXPLICIT",
            Coercibility::Implicit => "IMPLICIT",
            Coercibility::System => "SYSCONST",
            Coercibility::Coercible => "COERCIBLE",
            Coercibility::Numeric => "NUMERIC",
            Coercibility::Ignorable => "IGNORABLE",
            Coercibility::None => "NONE",
        }
    }
}

/// What a string brings where it meets others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// Its collation.
    pub collation: Collation,
    /// How firmly it has that.
    pub coercibility: Coercibility,
    /// Nothing in it can be beyond ASCII, so that it is text of any character set.
    pub is_ascii: bool,
}

impl Side {
    /// A string of which nothing else is known.
    pub fn new(collation: Collation, coercibility: Coercibility) -> Side {
        Side { collation, coercibility, is_ascii: collation.character_set() == Charset::Ascii }
    }

    fn charset(self) -> Charset {
        self.collation.character_set()
    }
}

impl Display for Side {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "({},{})", self.collation.name(), self.coercibility.name())
    }
}

/// What texts agree on; `None` when nothing reconciles them. An agreement whose coercibility is [`Coercibility::None`] is
/// good enough to join them, not to compare them.
pub fn agree(sides: &[Side]) -> Option<(Collation, Coercibility)> {
    let mut agreed = *sides.first()?;
    let (mut is_mixed, mut bytes) = (false, None::<Collation>);
    for side in &sides[1..] {
        let is_ascii = agreed.is_ascii && side.is_ascii;
        let kept = match meet(agreed, *side) {
            Meeting::Agreed(both) => both,
            Meeting::Bytes(both) => {
                bytes = Some(both);
                Side::new(both, Coercibility::None)
            }
            // A COLLATE further on may decide.
            Meeting::Unknown => {
                is_mixed = true;
                Side::new(Collation::Binary, Coercibility::None)
            }
            Meeting::Contradiction => return None,
        };
        agreed = Side { is_ascii, ..kept };
    }
    match () {
        () if agreed.coercibility == Coercibility::Explicit => Some((agreed.collation, agreed.coercibility)),
        () if is_mixed => None,
        () => Some(bytes.map_or((agreed.collation, agreed.coercibility), |both| (both, Coercibility::None))),
    }
}

enum Meeting {
    Agreed(Side),
    /// Only on bytes: the bytewise collation of their character set.
    Bytes(Collation),
    Unknown,
    Contradiction,
}

fn meet(left: Side, right: Side) -> Meeting {
    let (a, b) = (left.coercibility, right.coercibility);
    Meeting::Agreed(match () {
        () if left.charset() == right.charset() => return meet_in_one_charset(left, right),
        () if left.charset() == Charset::Binary => {
            if a <= b {
                left
            } else {
                right
            }
        }
        () if right.charset() == Charset::Binary => {
            if b <= a {
                right
            } else {
                left
            }
        }
        () if a == b && a == Coercibility::Explicit => return Meeting::Contradiction,
        () if takes_in(left, right) => left,
        () if takes_in(right, left) => right,
        () if a < b && b >= Coercibility::System => left,
        () if b < a && a >= Coercibility::System => right,
        () => return Meeting::Unknown,
    })
}

fn meet_in_one_charset(left: Side, right: Side) -> Meeting {
    let firmness = left.coercibility;
    Meeting::Agreed(match () {
        () if firmness < right.coercibility => left,
        () if firmness > right.coercibility => right,
        () if left.collation == right.collation => left,
        // Texts that the server made beside the session's.
        () if firmness == Coercibility::Coercible => {
            if left.collation == Collation::DEFAULT {
                right
            } else {
                left
            }
        }
        () if firmness == Coercibility::Explicit => return Meeting::Contradiction,
        () if left.collation.is_bin() => left,
        () if right.collation.is_bin() => right,
        () => return Meeting::Bytes(left.collation.bin()),
    })
}

/// Whether the right side becomes text of the left side's character set because that has all its characters.
fn takes_in(left: Side, right: Side) -> bool {
    let is_unicode = |charset| matches!(charset, Charset::Utf8mb3 | Charset::Utf8mb4);
    let is_wider =
        !is_unicode(right.charset()) || (left.charset(), right.charset()) == (Charset::Utf8mb4, Charset::Utf8mb3);
    let (is_firmer, is_equal) = (left.coercibility < right.coercibility, left.coercibility == right.coercibility);
    is_unicode(left.charset()) && (is_firmer || is_equal && is_wider)
        || right.is_ascii && (is_firmer || is_equal && !left.is_ascii)
}

#[cfg(test)]
mod tests {
    use super::Coercibility::*;
    use super::*;
    use Collation::{AsciiGeneralCi, Binary, Latin1SwedishCi, Utf8mb4Bin, Utf8mb4GeneralCi, Utf8mb4UnicodeCi};

    #[test]
    fn the_firmest_collation_wins() {
        let agreed = |sides: &[(Collation, Coercibility)]| {
            agree(&sides.iter().map(|(collation, firmness)| Side::new(*collation, *firmness)).collect::<Vec<_>>())
        };
        let (general, unicode) = ((Utf8mb4GeneralCi, Implicit), (Utf8mb4UnicodeCi, Implicit));
        assert_eq!(agreed(&[general, (Utf8mb4UnicodeCi, Coercible)]), Some(general));
        assert_eq!(agreed(&[general, unicode]), Some((Utf8mb4Bin, None)));
        assert_eq!(agreed(&[general, (Utf8mb4Bin, Implicit)]), Some((Utf8mb4Bin, Implicit)));
        assert_eq!(agreed(&[general, unicode, (Utf8mb4GeneralCi, Explicit)]), Some((Utf8mb4GeneralCi, Explicit)));
        assert_eq!(agreed(&[(Utf8mb4GeneralCi, Explicit), (Utf8mb4UnicodeCi, Explicit)]), Option::None);
        assert_eq!(agreed(&[(Binary, Coercible), general]), Some(general));
        assert_eq!(agreed(&[general, (Binary, Implicit)]), Some((Binary, Implicit)));
        assert_eq!(agreed(&[(Latin1SwedishCi, Implicit), general]), Some(general));
        assert_eq!(
            agreed(&[(Latin1SwedishCi, Implicit), (AsciiGeneralCi, Implicit)]),
            Some((Latin1SwedishCi, Implicit))
        );
        let latin = (Latin1SwedishCi, Implicit);
        assert_eq!(agreed(&[latin, (Utf8mb4GeneralCi, Coercible)]), Some(latin));
        assert_eq!(agreed(&[(Utf8mb4Bin, None), general]), Some(general));
        assert_eq!(agreed(&[general, unicode, (Utf8mb4Bin, Coercible)]), Some((Utf8mb4Bin, None)));
    }
    #[test]
    fn ascii_goes_into_any_character_set() {
        let ascii = |side: Side| Side { is_ascii: true, ..side };
        let (latin, unicode) = (Side::new(Latin1SwedishCi, Coercible), Side::new(Utf8mb4GeneralCi, Coercible));
        assert_eq!(agree(&[latin, unicode]), Some((Utf8mb4GeneralCi, Coercible)));
        assert_eq!(
            agree(&[Side { coercibility: Implicit, ..latin }, ascii(unicode)]),
            Some((Latin1SwedishCi, Implicit))
        );
        let (latin, unicode) = (Side::new(Latin1SwedishCi, Implicit), Side::new(Utf8mb4GeneralCi, Implicit));
        assert_eq!(agree(&[latin, unicode]), Some((Utf8mb4GeneralCi, Implicit)));
        assert_eq!(agree(&[latin, ascii(unicode)]), Some((Latin1SwedishCi, Implicit)));
        let explicit = Side::new(Latin1SwedishCi, Explicit);
        assert_eq!(agree(&[explicit, unicode]), Option::None);
        assert_eq!(agree(&[explicit, ascii(unicode)]), Some((Latin1SwedishCi, Explicit)));
    }
}
