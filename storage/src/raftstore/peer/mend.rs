//! Mends appends that raft batched wrongly.
//!
//! With `batch_append` the raft crate adds entries to an append for the same follower that has not left yet. It looks
//! whether they follow the entries in it, but an append without entries takes any:
//! ```text
//! queued  prev 10, entries —            (only a new commit index)
//! refused prev 10 ─▶ next is 10 again
//! batched prev 10, entries [10]         the follower finds 10, counts one entry, and acknowledges 11, which it lacks
//! ```
//! The leader would then count a replica of an entry that is not there. What was queued is not needed, so the append is
//! made to begin right before its first entry.

use raft::eraftpb::{Message, MessageType};

/// Makes an append begin right before its first entry. False: the term there is not known any more, and the message must
/// not be sent; raft finds the follower lacking at the next heartbeat.
pub(super) fn mend_append(message: &mut Message, term_at: impl FnOnce(u64) -> Option<u64>) -> bool {
    let Some(first) = message.entries.first().map(|entry| entry.index) else { return true };
    if message.get_msg_type() != MessageType::MsgAppend || first == message.index + 1 {
        return true;
    }
    let Some(term) = term_at(first - 1) else { return false };
    message.index = first - 1;
    message.log_term = term;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn append(index: u64, entries: &[u64]) -> Message {
        let mut message = Message { index, log_term: 6, ..Message::default() };
        message.set_msg_type(MessageType::MsgAppend);
        let entry = |&index: &u64| Entry { index, ..Entry::default() };
        message.entries = entries.iter().map(entry).collect::<Vec<_>>().into();
        message
    }

    #[test]
    fn an_append_begins_before_its_first_entry() {
        for (index, entries) in [(10, [10, 11]), (8, [10, 11])] {
            let mut message = append(index, &entries);
            assert!(mend_append(&mut message, |index| Some(index - 5)));
            assert_eq!((message.index, message.log_term, message.entries.len()), (9, 4, 2));
        }
    }

    #[test]
    fn what_is_right_stays_and_what_cannot_be_mended_is_not_sent() {
        let (mut right, mut empty, mut lost) = (append(9, &[10]), append(10, &[]), append(10, &[10]));
        assert!(mend_append(&mut right, |_| None) && right.index == 9 && right.log_term == 6);
        assert!(mend_append(&mut empty, |_| None) && empty.index == 10);
        assert!(!mend_append(&mut lost, |_| None));
    }
}
