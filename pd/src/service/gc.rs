//! The safe point of garbage collection: how far it may move, and who holds it.
//!
//! ```text
//! safe point = min(now − life, oldest transaction or snapshot of any SQL server, lowest service safe point)
//!              but never below now − limit, and never back
//! collect_to = the safe point below which every region is closed and has no lock left, as the client says
//! ```
//! Both are durable before anybody hears of them. That the safe point passes somebody whom PD does not know any more is told by
//! the regions, which refuse what is older; nobody reads a wrong version.

use super::{PdService, records};
use crate::error::Error;
use basalt_common::Timestamp;
use basalt_proto::pd;
use std::time::Duration;

/// Who holds the safe point back for longer is named in the log.
const HELD_WARN_AFTER: Duration = Duration::from_secs(3_600);

/// The safe point moves so often while versions live, at most.
const STEPS_A_LIFE: u64 = 10;

/// How far collection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// No reader and no new lock below it, from the moment on at which a region hears of it.
    pub(super) safe_point: Timestamp,
    /// Stores may delete what no reader at or above it needs.
    pub(super) collect_to: Timestamp,
}

/// Somebody who needs old versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) ts: Timestamp,
}

/// Where the safe point goes, and whether `oldest` is what keeps it from going further.
fn target(now_ms: u64, (life, limit): (Duration, Duration), oldest: Option<Timestamp>) -> (Timestamp, bool) {
    let ago = |span: Duration| Timestamp::compose(now_ms.saturating_sub(span.as_millis() as u64), 0);
    let free = ago(life);
    match oldest {
        Some(oldest) if oldest < free => (oldest.max(ago(limit.max(life))), true),
        _ => (free, false),
    }
}

impl PdService {
    pub(super) async fn gc(&self, request: pd::GcRequest) -> Result<pd::GcResponse, Error> {
        // Of a fresh timestamp, so that it goes on when nobody draws any, and never beyond one that was given.
        let clock_ms = self.timestamps(1).await?.physical_ms();
        let _writer = self.writer.lock().await;
        let now_ms = self.env.wall_ms();
        let mut holder = {
            let mut state = self.state.lock();
            let forget_ms = self.config.sql_server_forget_after.as_millis() as u64;
            state.registry.forget_servers(now_ms.saturating_sub(forget_ms));
            state.registry.oldest_holder(now_ms)
        };
        let (to, is_held) =
            target(clock_ms, (self.config.gc_life, self.config.gc_limit), holder.as_ref().map(|h| h.ts));
        let before = self.state.lock().gc;
        let mut marks = before;
        // A PD that has just started does not know yet who reads.
        if request.advance && self.env.now().since(self.opened) >= self.config.sql_server_forget_after {
            // In steps: each costs every region an entry in its log.
            if to.physical_ms()
                >= marks.safe_point.physical_ms() + (self.config.gc_life.as_millis() as u64 / STEPS_A_LIFE)
            {
                marks.safe_point = to;
            }
            if let Some(holder) = holder.as_ref().filter(|_| is_held) {
                warn_of(holder, marks.safe_point, clock_ms);
            }
        }
        if request.resolved_to > marks.safe_point.0 {
            return Err(Error::Invalid(format!("locks below {} are not all there yet", request.resolved_to)));
        }
        marks.collect_to = marks.collect_to.max(Timestamp(request.resolved_to));
        if marks != before {
            self.meta.write(vec![records::put_gc(marks)]).await?;
            self.state.lock().gc = marks;
        }
        holder = holder.filter(|_| is_held);
        Ok(pd::GcResponse {
            safe_point: marks.safe_point.0,
            collect_to: marks.collect_to.0,
            held_at: holder.as_ref().map_or(0, |holder| holder.ts.0),
            held_by: holder.map(|holder| holder.name).unwrap_or_default(),
            now_ms,
        })
    }
}

fn warn_of(holder: &Holder, safe_point: Timestamp, now_ms: u64) {
    let Holder { name, ts } = holder;
    let age = Duration::from_millis(now_ms.saturating_sub(ts.physical_ms()));
    if *ts < safe_point {
        tracing::warn!(holder = name, %ts, ?age, "the safe point passes the oldest reader: it is too old");
    } else if age > HELD_WARN_AFTER {
        tracing::warn!(holder = name, %ts, ?age, "old versions are kept for a reader that began long ago");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PdConfig;
    use crate::meta_store::memory::MemoryMetaStore;
    use basalt_common::env::{Clock, Env, Monotonic};
    use basalt_proto::pd::{PdRequest, pd_request, pd_response};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const MINUTE: u64 = 60_000;

    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn monotonic(&self) -> Monotonic {
            Monotonic(self.0.load(Ordering::Relaxed) * 1_000_000)
        }
        fn wall_micros(&self) -> u64 {
            self.0.load(Ordering::Relaxed) * 1_000
        }
    }

    #[test]
    fn it_goes_as_far_as_the_oldest_reader_and_the_limit_let_it() {
        let spans = (Duration::from_secs(600), Duration::from_secs(3_600));
        let at = |minute: u64| Timestamp::compose(minute * MINUTE, 0);
        let target = |oldest| target(200 * MINUTE, spans, oldest);
        assert_eq!(target(None), (at(190), false));
        assert_eq!(target(Some(at(195))), (at(190), false));
        assert_eq!(target(Some(at(150))), (at(150), true));
        assert_eq!(target(Some(at(100))), (at(140), true));
    }

    #[tokio::test]
    async fn readers_hold_it_and_it_never_goes_back() {
        let clock = Arc::new(SetClock(AtomicU64::new(1_000 * MINUTE)));
        let disk = MemoryMetaStore::new();
        let open = async || {
            let env = Env::with_clock(clock.clone(), 1);
            PdService::open(env, Arc::new(disk.clone()), PdConfig::default()).await.expect("opens")
        };
        let pass = |minutes| clock.0.fetch_add(minutes * MINUTE, Ordering::Relaxed);
        let at = |minute: u64| Timestamp::compose(minute * MINUTE, 0).0;
        let pd = open().await;
        let ask = async |pd: &PdService, advance, resolved_to| {
            let cmd = Some(pd_request::Cmd::Gc(pd::GcRequest { advance, resolved_to }));
            match pd.handle(PdRequest { cluster_id: 0, cmd }).await {
                pd::PdResponse { cmd: Some(pd_response::Cmd::Gc(answer)), .. } => Ok(answer),
                refused => Err(refused.error.expect("a refusal").message),
            }
        };
        assert_eq!(ask(&pd, true, 0).await.expect("answered").safe_point, 0, "nobody had time to say that he reads");
        pass(1);
        assert_eq!(ask(&pd, false, 0).await.expect("answered").safe_point, 0);
        assert_eq!(ask(&pd, true, 0).await.expect("answered").safe_point, at(991));
        let server = pd::SqlServer { id: 7, address: "here".into(), oldest_ts: at(1_001), ..pd::SqlServer::default() };
        pass(20);
        pd.sql_server_heartbeat(pd::SqlServerHeartbeatRequest { server: Some(server), leaving: false }).expect("taken");
        let answer = ask(&pd, true, 0).await.expect("answered");
        assert_eq!((answer.safe_point, answer.held_by.as_str()), (at(1_001), "SQL server at here"));
        assert!(ask(&pd, false, at(1_002)).await.is_err(), "not the safe point yet");
        assert_eq!(ask(&pd, false, at(1_001)).await.expect("answered").collect_to, at(1_001));
        // What is gone cannot be asked for any more, what is there can.
        let backup = async |ts| {
            let request = pd::ServiceSafePointRequest { service: "backup".into(), safe_point_ts: ts, ttl_s: 3_600 };
            pd.service_safe_point(request).await
        };
        assert!(backup(at(1_000)).await.is_err());
        backup(at(1_005)).await.expect("kept");
        pass(20);
        let answer = ask(&pd, true, 0).await.expect("answered");
        assert_eq!((answer.safe_point, answer.held_by.as_str()), (at(1_005), "backup"));
        drop(pd);
        let pd = open().await;
        let answer = ask(&pd, true, 0).await.expect("answered");
        assert_eq!((answer.safe_point, answer.collect_to), (at(1_005), at(1_001)), "it is durable");
        pass(60);
        assert_eq!(ask(&pd, true, 0).await.expect("answered").safe_point, at(1_091));
    }
}
