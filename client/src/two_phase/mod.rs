//! The coordinator of commits (Percolator §2.2, with one-phase commit and async commit).
//!
//! ```text
//!   mutations ─ group by region ─┬─ one batch ──▶ prewrite with try_one_pc ──▶ committed: one round, no locks
//!                                │
//!                                ├─ few keys ───▶ prewrite all, async ─▶ committed at max(min_commit_ts): answer,
//!                                │                                       then commit all in the background
//!                                └─ otherwise ──▶ prewrite all ─▶ commit_ts from PD ─▶ commit the primary: answer,
//!                                                                                      then the others in the background
//! ```
//!
//! # What decides
//!
//! | way | the moment of commit | requests whose lost answer makes the outcome unknown |
//! |---|---|---|
//! | one phase | the prewrite is applied | the prewrite |
//! | async | the last key's prewrite is applied | any prewrite, as long as *none* is known to have failed |
//! | two phases | the primary's commit is applied | the primary's commit |
//!
//! A lost answer is asked for again: every request is idempotent, and stores answer a repetition from their own commit
//! record or lock. Only when patience ends without an answer is the outcome unknown ([`Error::Undetermined`]), and only in
//! the cases of the table: one key that certainly was not prewritten is enough to know that an async commit did not happen
//! (M14 in `docs/mistakes.md`). The fall-back from async or one phase to two phases is the store's decision, seen in its answer
//! (`min_commit_ts` or `one_pc_commit_ts` = 0); from then on the primary's commit decides.
//!
//! One more danger: a prewrite whose answer was lost may still be on its way when another attempt has failed for a reason
//! that passes (a lock). Would it arrive after the caller was told "failed", an async commit could become complete. So
//! after a lost answer a failed one-phase or async commit rolls back its primary before it is reported.
//!
//! # The floor of commit timestamps
//!
//! A commit timestamp computed by stores must not lie below that of a transaction that ended before this one began to
//! commit (M7). So a fresh timestamp is drawn as a floor; an autocommit statement drew its `start_ts` after it
//! began, and that is floor enough.
//!
//! # Others' locks
//!
//! A commit that waits for another's lock holds what it has prewritten meanwhile, and whoever meets that waits as well: readers,
//! and the very transaction that it waits for. An autocommit statement does not ([`Error::WouldWait`]): it is rolled back and
//! takes its locks before it writes, where it stands in a queue and in the wait-for graph and holds nothing that readers see.
//! Any other optimistic transaction waits when all its keys are in one request, which has prewritten nothing then; else the
//! lock is a conflict, as its commit would be; that of a commit under way only when it stays. What a pessimistic one has to wait
//! for is a commit under way.
//!
//! [`Error::WouldWait`]: crate::error::Error::WouldWait
//!
//! # Primary
//!
//! The first key that leaves a lock, or for a pessimistic transaction the key locked first. Its lock names all other keys
//! of an async commit. After a failure that is certain, everything is rolled back in the background; after an unknown
//! outcome nothing is touched.

mod commit;
mod finish;
mod prewrite;

pub(crate) use commit::commit;
