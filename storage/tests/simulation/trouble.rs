//! What happens to machines, network, PD and regions while clients work.

use crate::bank::{ACCOUNTS, account};
use crate::machine::Slowness;
use crate::net::{Faults, Place};
use crate::world::World;
use basalt_client::Cluster;
use basalt_common::env::Env;
use basalt_common::{Peer, PeerId, PeerRole};
use basalt_proto::pd::{self, add_operator_request, pd_request, pd_response};
use std::sync::Arc;
use std::time::Duration;

/// Of a network on a usual day.
pub const USUAL_FAULTS: Faults = Faults { lost: 20, doubled: 20, late: 30 };

/// What may happen, and how often of a hundred.
const KINDS: [(u64, Kind); 14] = [
    (18, Kind::Crash),
    (5, Kind::CrashTwo),
    (12, Kind::Isolate),
    (8, Kind::CutOneWay),
    (6, Kind::CutFromPd),
    (4, Kind::LongAway),
    (8, Kind::Flush),
    (8, Kind::Split),
    (8, Kind::Transfer),
    (5, Kind::BadNetwork),
    (8, Kind::Slow),
    (5, Kind::ByHand),
    (3, Kind::Wipe),
    (2, Kind::CrashPd),
];

#[derive(Clone, Copy, Debug)]
enum Kind {
    Crash,
    CrashTwo,
    Isolate,
    CutOneWay,
    CutFromPd,
    LongAway,
    Flush,
    Split,
    Transfer,
    BadNetwork,
    Slow,
    ByHand,
    Wipe,
    CrashPd,
}

/// Lets things go wrong for a while. Who is away comes back only when its time is over, or at [`World::heal`].
pub async fn trouble(world: Arc<World>, how_long: Duration) {
    // In every second seed two things may go wrong at the same time.
    let first = one_after_another(world.clone(), 0, how_long);
    match world.env(8).random_range(0, 2) {
        0 => first.await,
        _ => drop(tokio::join!(first, one_after_another(world, 1, how_long))),
    }
}

async fn one_after_another(world: Arc<World>, number: u64, how_long: Duration) {
    let trouble = Trouble { chance: world.env(30 + number), admin: world.client(500 + number).await, world };
    let until = crate::clock::elapsed() + how_long;
    while crate::clock::elapsed() < until {
        tokio::time::sleep(Duration::from_millis(trouble.chance.random_range(50, 1200))).await;
        trouble.one().await;
    }
}

struct Trouble {
    world: Arc<World>,
    chance: Env,
    admin: Cluster,
}

impl Trouble {
    fn draw(&self) -> Kind {
        let mut dice = self.chance.random_range(0, KINDS.iter().map(|(weight, _)| weight).sum());
        for (weight, kind) in KINDS {
            match dice.checked_sub(weight) {
                None => return kind,
                Some(left) => dice = left,
            }
        }
        Kind::Flush
    }

    fn machine(&self) -> usize {
        self.chance.random_range(0, self.world.machines.len() as u64) as usize
    }

    fn ms(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.chance.random_range(from, to))
    }

    /// Longer than PD waits before it replaces a store.
    fn long(&self) -> Duration {
        self.world.shape.replace_after + self.ms(1_000, 6_000)
    }

    async fn one(&self) {
        let (world, i, pause) = (&self.world, self.machine(), self.ms(20, 2_500));
        let (kind, here) = (self.draw(), Place::Machine(i));
        world.trace.note(format_args!("trouble: {kind:?} {i}"));
        match kind {
            Kind::Crash => self.crash_some(&[i], pause).await,
            Kind::CrashTwo => self.crash_some(&[i, (i + 1) % world.machines.len()], pause).await,
            Kind::LongAway => self.crash_some(&[i], self.long()).await,
            Kind::Isolate => {
                let others = (0..world.machines.len()).filter(|&j| j != i).map(Place::Machine);
                let mut ways: Vec<_> = others.flat_map(|other| [(here, other), (other, here)]).collect();
                if self.chance.random_range(0, 3) == 0 {
                    ways.extend([(here, Place::Pd), (Place::Pd, here)]);
                }
                self.cut(&ways, pause).await;
            }
            Kind::CutOneWay => {
                let out = self.chance.random_range(0, 2) == 0;
                let others: Vec<_> = match self.chance.random_range(0, 2) {
                    0 => vec![Place::Machine(self.machine())],
                    _ => (0..world.machines.len()).map(Place::Machine).chain([Place::Pd]).collect(),
                };
                let ways: Vec<_> = others.into_iter().map(|o| if out { (here, o) } else { (o, here) }).collect();
                self.cut(&ways, pause).await;
            }
            Kind::CutFromPd => {
                let ways = [(here, Place::Pd), (Place::Pd, here)];
                let long = if self.chance.random_range(0, 2) == 0 { self.long() } else { pause };
                self.cut(&ways, long).await;
            }
            Kind::Flush => world.flush(i),
            Kind::Split => {
                let keys = vec![format!("account/{:02}{}", self.chance.random_range(0, ACCOUNTS), "y").into()];
                let _ = tokio::time::timeout(pause, self.admin.split_regions(keys)).await;
            }
            Kind::Transfer => {
                let Some(store) = world.store_on(i) else { return };
                let key = account(self.chance.random_range(0, ACCOUNTS));
                let _ = tokio::time::timeout(pause, self.admin.transfer_leader(&key, store)).await;
            }
            Kind::BadNetwork => {
                world.net.set_faults(Faults { lost: 250, doubled: 100, late: 250 });
                tokio::time::sleep(pause).await;
                world.net.set_faults(USUAL_FAULTS);
            }
            Kind::Slow => {
                let how = [Slowness::Some, Slowness::Much, Slowness::Stall][self.chance.random_range(0, 3) as usize];
                world.trace.note(format_args!("machine {i} is slow: {how:?}"));
                world.machines[i].pace.set(how);
                tokio::time::sleep(pause).await;
                if how != Slowness::Stall {
                    world.machines[i].pace.set(Slowness::None);
                }
            }
            Kind::ByHand => self.by_hand(i).await,
            Kind::Wipe if world.shape.wipes => {
                if world.can_lose(i).await {
                    world.wipe(i).await;
                    tokio::time::sleep(pause).await;
                    world.start(i).await;
                }
            }
            Kind::Wipe => {}
            Kind::CrashPd => {
                world.set_pd_sync_time(self.ms(0, 30));
                tokio::time::sleep(self.ms(0, 500)).await;
                world.crash_pd(self.chance.random_range(0, 2) == 0);
                tokio::time::sleep(pause).await;
                world.set_pd_sync_time(Duration::ZERO);
                if self.chance.random_range(0, 2) == 0 {
                    world.set_pd_wall_ahead(self.chance.random_range(0, 20_000) as i64 - 10_000);
                }
                world.start_pd().await;
            }
        }
    }

    async fn cut(&self, ways: &[(Place, Place)], how_long: Duration) {
        self.world.net.cut(ways);
        tokio::time::sleep(how_long).await;
        self.world.net.mend(ways);
    }

    async fn crash_some(&self, machines: &[usize], pause: Duration) {
        for &i in machines {
            // A disk that fails first stops the store between sending and syncing, or syncing and applying.
            let how = self.chance.random_range(0, 3);
            if how > 0 {
                self.world.doom(i, how == 1);
                tokio::time::sleep(self.ms(1, 300)).await;
            }
            self.world.crash(i).await;
        }
        tokio::time::sleep(pause).await;
        for &i in machines {
            self.world.start(i).await;
        }
    }

    /// Somebody adds a replica on a machine, or removes one there; PD's checker will have its own opinion.
    async fn by_hand(&self, i: usize) {
        let Some(store) = self.world.store_on(i) else { return };
        let regions = self.world.regions().await;
        let Some(led) = regions.values().nth(self.chance.random_range(0, regions.len() as u64) as usize) else {
            return;
        };
        let region = &led.status.region;
        let step = match region.peer_on(store) {
            Some(peer) if !self.world.shape.wipes && region.peers.len() > 1 => {
                add_operator_request::Step::RemovePeer(pd::RemovePeerStep { peer: Some(peer.into()) })
            }
            Some(_) => return,
            None => {
                let cmd = pd_request::Cmd::AllocId(pd::AllocIdRequest { count: 1 });
                let Some(pd_response::Cmd::AllocId(ids)) = self.world.ask_pd(cmd).await else { return };
                let peer = Peer { id: PeerId(ids.first_id), store_id: store, role: PeerRole::Learner };
                add_operator_request::Step::AddPeer(pd::AddPeerStep { peer: Some(peer.into()) })
            }
        };
        self.world.trace.note(format_args!("by hand: region {} {step:?}", region.id));
        let request = pd::AddOperatorRequest { region_id: region.id.0, step: Some(step) };
        let _ = self.world.ask_pd(pd_request::Cmd::AddOperator(request)).await;
    }
}
