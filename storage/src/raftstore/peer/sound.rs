//! Whether raft can take a message from the network.
//!
//! The raft crate trusts its messages: a commit index above the log, entries with holes or a snapshot whose configuration
//! contradicts itself end the process. They come from a store whose disk or memory was damaged, or from whoever reaches the
//! port; such a message is dropped, and the process goes on.

use raft::eraftpb::{ConfState, Message, MessageType};

/// Terms and indexes that no cluster reaches, so that counting on from one below never overflows.
const NUMBER_MAX: u64 = u64::MAX >> 1;

/// What is wrong with a message for a peer whose log ends at `last_index`.
pub(super) fn flaw(message: &Message, last_index: u64) -> Option<&'static str> {
    if message.term > NUMBER_MAX || message.index > NUMBER_MAX {
        return Some("a term or an index out of range");
    }
    match message.get_msg_type() {
        MessageType::MsgHeartbeat if message.commit > last_index => Some("it commits entries that are not here"),
        MessageType::MsgAppendResponse if !message.reject && message.index > last_index => {
            Some("it acknowledges entries that were never sent")
        }
        MessageType::MsgAppend => flaw_of_entries(message),
        MessageType::MsgSnapshot => flaw_of_snapshot(message),
        _ => None,
    }
}

fn flaw_of_entries(message: &Message) -> Option<&'static str> {
    let mut before = (message.index, message.log_term);
    for entry in &message.entries {
        if entry.index != before.0 + 1 {
            return Some("its entries have holes");
        }
        if entry.term < before.1 || entry.term > message.term {
            return Some("the terms of its entries fall, or are later than its own");
        }
        before = (entry.index, entry.term);
    }
    None
}

fn flaw_of_snapshot(message: &Message) -> Option<&'static str> {
    let metadata = message.get_snapshot().get_metadata();
    if metadata.index == 0 || metadata.index > NUMBER_MAX || metadata.term == 0 || metadata.term > message.term {
        return Some("its snapshot ends nowhere");
    }
    (!is_consistent(metadata.get_conf_state())).then_some("its snapshot's configuration contradicts itself")
}

/// There are voters, each peer has one role, and those who are to become learners are voters on their way out.
fn is_consistent(state: &ConfState) -> bool {
    let distinct = |peers: &[u64]| (1..peers.len()).all(|i| !peers[..i].contains(&peers[i]));
    let apart = |a: &[u64], b: &[u64]| a.iter().all(|peer| !b.contains(peer));
    let lists = [&state.voters, &state.learners, &state.voters_outgoing, &state.learners_next];
    lists.iter().all(|peers| distinct(peers) && !peers.contains(&0))
        && !state.voters.is_empty()
        && apart(&state.learners, &state.voters)
        && apart(&state.learners, &state.voters_outgoing)
        && apart(&state.learners_next, &state.voters)
        && state.learners_next.iter().all(|peer| state.voters_outgoing.contains(peer))
        && (!state.auto_leave || !state.voters_outgoing.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn message(kind: MessageType, change: impl FnOnce(&mut Message)) -> Message {
        let mut message = Message { term: 7, index: 9, log_term: 6, ..Message::default() };
        message.set_msg_type(kind);
        change(&mut message);
        message
    }

    fn append(entries: &[(u64, u64)]) -> Message {
        let entry = |&(index, term): &(u64, u64)| Entry { index, term, ..Entry::default() };
        message(MessageType::MsgAppend, |m| m.entries = entries.iter().map(entry).collect::<Vec<_>>().into())
    }

    fn snapshot(index: u64, state: ConfState) -> Message {
        message(MessageType::MsgSnapshot, |m| {
            m.mut_snapshot().mut_metadata().index = index;
            m.mut_snapshot().mut_metadata().term = 7;
            m.mut_snapshot().mut_metadata().set_conf_state(state);
        })
    }

    #[test]
    fn what_raft_sends_is_sound() {
        let joint = ConfState {
            voters_outgoing: vec![1, 2, 4],
            learners_next: vec![4],
            ..ConfState::from((vec![1, 2, 3], vec![5]))
        };
        let sound = [
            message(MessageType::MsgHeartbeat, |m| m.commit = 20),
            message(MessageType::MsgAppendResponse, |m| m.index = 20),
            message(MessageType::MsgAppendResponse, |m| (m.index, m.reject) = (99, true)),
            append(&[]),
            append(&[(10, 6), (11, 6), (12, 7)]),
            snapshot(30, ConfState::from((vec![1, 2, 3], vec![4]))),
            snapshot(30, joint),
        ];
        for message in sound {
            assert_eq!(flaw(&message, 20), None, "{message:?}");
        }
    }

    #[test]
    fn what_would_end_the_process_is_seen() {
        let voters = |voters: Vec<u64>, learners: Vec<u64>| ConfState::from((voters, learners));
        let flawed = [
            message(MessageType::MsgHeartbeat, |m| m.commit = 21),
            message(MessageType::MsgAppendResponse, |m| m.index = 21),
            message(MessageType::MsgRequestVote, |m| m.term = u64::MAX),
            message(MessageType::MsgAppend, |m| m.index = u64::MAX),
            append(&[(11, 7)]),
            append(&[(10, 7), (12, 7)]),
            append(&[(10, 7), (11, 6)]),
            append(&[(10, 8)]),
            snapshot(0, voters(vec![1], vec![])),
            snapshot(30, voters(vec![], vec![1])),
            snapshot(30, voters(vec![1, 2], vec![2])),
            snapshot(30, voters(vec![1, 1], vec![])),
            snapshot(30, ConfState { learners_next: vec![4], ..voters(vec![1, 2], vec![]) }),
        ];
        for message in flawed {
            assert!(flaw(&message, 20).is_some(), "{message:?}");
        }
    }
}
