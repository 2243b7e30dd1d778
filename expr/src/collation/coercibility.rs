//! How firmly an expression has its collation, and which collation several expressions agree on.
//!
//! Expressions of one character set agree on the collation of the firmest. Two that are equally firm agree only on a
//! bytewise one, if either has it; else they have none ([`Coercibility::None`]): they may be joined to a longer text, but
//! not compared with each other. Of two character sets the one that holds all characters of the other is kept, and a constant is
//! converted to whatever it stands beside.

use super::Collation;

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

/// A collation and how firm it is.
pub type Side = (Collation, Coercibility);

/// What texts agree on; `None` when nothing reconciles them. An agreement whose coercibility is [`Coercibility::None`] is
/// good enough to join them, not to compare them.
pub fn agree(sides: &[Side]) -> Option<Side> {
    let mut agreed = *sides.first()?;
    let (mut is_mixed, mut bytes) = (false, None::<Side>);
    for side in &sides[1..] {
        agreed = match meet(agreed, *side) {
            Meeting::Agreed(both) => both,
            Meeting::Bytes(both) => {
                bytes = Some((both, Coercibility::None));
                (both, Coercibility::None)
            }
            // A COLLATE further on may decide.
            Meeting::Unknown => {
                is_mixed = true;
                (Collation::Binary, Coercibility::None)
            }
            Meeting::Contradiction => return None,
        };
    }
    match () {
        () if agreed.1 == Coercibility::Explicit => Some(agreed),
        () if is_mixed => None,
        () => Some(bytes.unwrap_or(agreed)),
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
    let ((a, a_rank), (b, b_rank)) = (left, right);
    Meeting::Agreed(match () {
        () if a.charset() == b.charset() && a_rank != b_rank => firmer(left, right),
        // Texts that the server made beside the session's.
        () if a.charset() == b.charset() && a_rank == Coercibility::Coercible => {
            if a == Collation::DEFAULT {
                right
            } else {
                left
            }
        }
        () if a == b || a.charset() == b.charset() && a.is_bin() && a_rank != Coercibility::Explicit => left,
        () if a.charset() == b.charset() && a_rank == Coercibility::Explicit => return Meeting::Contradiction,
        () if a.charset() == b.charset() && b.is_bin() => right,
        () if a.charset() == b.charset() => return Meeting::Bytes(a.bytewise()),
        () if a == Collation::Binary => {
            if a_rank <= b_rank {
                left
            } else {
                right
            }
        }
        () if b == Collation::Binary => {
            if b_rank <= a_rank {
                right
            } else {
                left
            }
        }
        () if holds(left, right) => left,
        () if holds(right, left) => right,
        () if a_rank < b_rank && b_rank >= Coercibility::System => left,
        () if b_rank < a_rank && a_rank >= Coercibility::System => right,
        () => return Meeting::Unknown,
    })
}

fn firmer(left: Side, right: Side) -> Side {
    if left.1 < right.1 { left } else { right }
}

/// Whether the right side becomes text of the left side's character set because that is Unicode.
fn holds(left: Side, right: Side) -> bool {
    let width = |collation: Collation| match collation.charset() {
        "utf8mb4" => 2,
        "utf8mb3" => 1,
        _ => 0,
    };
    let (a, b) = (width(left.0), width(right.0));
    // Every character of ASCII is one of any character set.
    let is_ascii = right.0.charset() == "ascii";
    (a > 0 || is_ascii) && left.1 < right.1 || left.1 == right.1 && (a > b || a == 0 && is_ascii)
}

#[cfg(test)]
mod tests {
    use super::Coercibility::*;
    use super::*;
    use Collation::{AsciiGeneralCi, Binary, Latin1SwedishCi, Utf8mb4Bin, Utf8mb4GeneralCi, Utf8mb4UnicodeCi};

    #[test]
    fn the_firmest_collation_wins() {
        let agreed = |sides: &[Side]| agree(sides);
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
}
