//! From a sort key back to a text, for messages: who asks what a key holds has only the key.

use super::bytes;
use super::name::Collation;
use super::sort_key::{BELOW_SPACE, LEVEL_END, SPACE_BEFORE_LOWER, TEXT_END};

impl Collation {
    /// A text that has this sort key at its first level: of equal characters the small one without accent. Anything goes
    /// in; what is no sort key gives some text.
    ///
    /// `'Élan'` in utf8mb4_0900_ai_ci → key → `'elan'`.
    pub fn example(self, key: &[u8]) -> String {
        let Some((table, _)) = self.table() else {
            return match self.pads_bytes() {
                true => bytes::text_of(self.character_set(), key),
                false => String::from_utf8_lossy(key).into_owned(),
            };
        };
        let space = table.space();
        let mut weights = Vec::with_capacity(key.len() / 2);
        let mut rest = key;
        while let Some((&unit, behind)) = rest.split_first_chunk::<2>() {
            rest = behind;
            match unit {
                LEVEL_END if !self.pads_space() => break,
                TEXT_END if self.pads_space() => break,
                SPACE_BEFORE_LOWER if self.pads_space() => weights.push(space),
                BELOW_SPACE if self.pads_space() => {
                    let Some((&low, behind)) = rest.split_first() else { break };
                    rest = behind;
                    weights.push(space & 0xff00 | u16::from(low));
                }
                weight => weights.push(u16::from_be_bytes(weight)),
            }
        }
        table.text_of(&weights)
    }
}
