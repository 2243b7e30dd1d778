//! Running a fragment over a source: decoded plans are cached, rows come in through the task's context.
//!
//! The source works when the fragment asks for a batch, on the fragment's thread. It gives way to the runtime after every
//! batch, because the operators above it do not: an aggregate would otherwise read its whole region in one poll, deaf to
//! its client's leaving.

use crate::error::{Error, Result};
use crate::source::{BatchSource, ScanCounts, Stop};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use basalt_common::env::Env;
use basalt_expr::EvalContext;
use basalt_expr::fragment::{self, FragmentSource};
use bytes::Bytes;
use datafusion_common::exec_err;
use datafusion_execution::SendableRecordBatchStream;
use datafusion_execution::runtime_env::RuntimeEnv;
use datafusion_physical_plan::ExecutionPlan;
use datafusion_physical_plan::stream::RecordBatchStreamAdapter;
use lru::LruCache;
use parking_lot::Mutex;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A longer fragment is hardly asked for again by another statement, and the regions of one are decoded side by side.
const CACHED_BYTES_MAX: usize = 64 << 10;

/// Decoded fragments by their bytes.
pub struct FragmentCache {
    plans: Mutex<LruCache<Key, Cached>>,
}

/// A decoded plan and the surroundings that its functions have, where their warnings end up.
#[derive(Clone)]
struct Cached {
    plan: Arc<dyn ExecutionPlan>,
    eval: Arc<EvalContext>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    fragment: Bytes,
    /// The types of the leaf are not in the fragment: they follow from the scan.
    scan: Bytes,
    /// Of the statement, when the plan has functions; empty otherwise.
    context: Bytes,
}

/// What a fragment is run for.
pub struct FragmentRequest {
    /// Its bytes.
    pub fragment: Bytes,
    /// Bytes of the scan's specification.
    pub scan: Bytes,
    /// Bytes of the statement's surroundings.
    pub context: Bytes,
    /// The same, decoded.
    pub eval: Arc<EvalContext>,
    /// What the scan puts out.
    pub schema: SchemaRef,
}

impl FragmentCache {
    pub fn new(plans_max: usize) -> Self {
        let plans_max = NonZeroUsize::new(plans_max).unwrap_or(NonZeroUsize::MIN);
        FragmentCache { plans: Mutex::new(LruCache::new(plans_max)) }
    }

    /// The plan of a request, ready to run once, and the surroundings that it runs in.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the bytes are not a fragment that this store can run.
    pub fn plan(&self, request: FragmentRequest) -> Result<(Arc<dyn ExecutionPlan>, Arc<EvalContext>)> {
        let FragmentRequest { fragment, scan, context, eval, schema } = request;
        let mut key = Key { fragment, scan, context: Bytes::new() };
        let mut cached = self.plans.lock().get(&key).cloned();
        if cached.is_none() {
            key.context = context;
            cached = self.plans.lock().get(&key).cloned();
        }
        let cached = match cached {
            Some(cached) => cached,
            None => {
                let decoded =
                    fragment::decode(&key.fragment, schema, eval.clone()).map_err(|e| Error::Invalid(e.to_string()))?;
                if !decoded.has_functions {
                    key.context = Bytes::new();
                }
                let cached = Cached { plan: decoded.plan, eval };
                if key.fragment.len() <= CACHED_BYTES_MAX {
                    self.plans.lock().put(key, cached.clone());
                }
                cached
            }
        };
        Ok((fragment::instance(&cached.plan)?, cached.eval))
    }
}

/// A source shared between the fragment that reads it and the handler that reports on it.
pub struct SharedSource {
    source: Arc<Mutex<Box<dyn BatchSource>>>,
    batch_rows: usize,
    env: Env,
    scan_us: Arc<AtomicU64>,
}

impl SharedSource {
    pub fn new(source: Box<dyn BatchSource>, batch_rows: usize, env: Env) -> Self {
        SharedSource { source: Arc::new(Mutex::new(source)), batch_rows, env, scan_us: Arc::default() }
    }

    pub fn stop(&self) -> Option<Stop> {
        self.source.lock().stop()
    }

    pub fn counts(&self) -> ScanCounts {
        self.source.lock().counts()
    }

    pub fn scan_us(&self) -> u64 {
        self.scan_us.load(Ordering::Relaxed)
    }
}

impl FragmentSource for SharedSource {
    fn open(&self, schema: &SchemaRef) -> datafusion_common::Result<SendableRecordBatchStream> {
        let own = self.source.lock().schema();
        if own.fields().len() != schema.fields().len() {
            return exec_err!("a fragment over {} columns is given {}", schema.fields().len(), own.fields().len());
        }
        let reader = Reader {
            source: self.source.clone(),
            scan_us: self.scan_us.clone(),
            env: self.env.clone(),
            batch_rows: self.batch_rows,
            schema: schema.clone(),
        };
        let batches = futures::stream::try_unfold(reader, |reader| async move {
            let batch = reader.next()?;
            tokio::task::yield_now().await;
            Ok(batch.map(|batch| (batch, reader)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches)))
    }
}

/// What one run of a fragment reads from.
struct Reader {
    source: Arc<Mutex<Box<dyn BatchSource>>>,
    scan_us: Arc<AtomicU64>,
    env: Env,
    batch_rows: usize,
    schema: SchemaRef,
}

impl Reader {
    fn next(&self) -> datafusion_common::Result<Option<RecordBatch>> {
        let started = self.env.now();
        let batch = self.source.lock().next_batch(self.batch_rows)?;
        self.scan_us.fetch_add(self.env.now().since(started).as_micros() as u64, Ordering::Relaxed);
        batch.map(|batch| fragment::conform(&batch, &self.schema)).transpose()
    }
}

/// Starts a fragment over a source.
///
/// # Errors
/// When the plan cannot start.
pub fn execute(
    plan: &Arc<dyn ExecutionPlan>,
    source: Arc<SharedSource>,
    runtime: Arc<RuntimeEnv>,
) -> Result<SendableRecordBatchStream> {
    let context = fragment::task_context(source.clone(), runtime, source.batch_rows);
    Ok(plan.execute(0, context)?)
}
