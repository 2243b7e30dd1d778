//! A script on a stage: its answers compared with those that are written, or written down.
//!
//! Whether a statement waits is a matter of time. One that is to wait must not have answered after a moment, and must then
//! answer within seconds of the step that releases it; one that is not to wait must answer within a second, which leaves a
//! busy machine room and no lock wait. Nobody may answer before the line that says so. Statements that change a schema get
//! more of each: they take a while even where they wait for nobody.

use crate::script::{Answer, Deed, Script, Step};
use crate::stage::{Stage, first_word};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::sleep;

/// Times of a kind of statements.
struct Times {
    /// A statement that has not answered by then waits.
    waits: Duration,
    /// A statement that waits for nobody has answered by then.
    at_once: Duration,
}

const OF_ROWS: Times = Times { waits: Duration::from_millis(150), at_once: Duration::from_secs(1) };
const OF_SCHEMA: Times = Times { waits: Duration::from_millis(800), at_once: Duration::from_secs(5) };
/// Answers are written down at leisure.
const WRITTEN: Times = Times { waits: Duration::from_millis(700), at_once: Duration::from_secs(10) };
/// A statement that has waited answers within this time of its release, or of its own timeout.
const RETURNS: Duration = Duration::from_secs(5);
/// How long one that should go on waiting is watched after a step.
const GRACE: Duration = Duration::from_millis(50);
/// The same, while answers are written down.
const WRITTEN_GRACE: Duration = Duration::from_millis(200);

fn times(sql: &str) -> Times {
    match first_word(sql).as_str() {
        "CREATE" | "ALTER" | "DROP" | "TRUNCATE" | "RENAME" | "LOCK" | "OPTIMIZE" | "ANALYZE" | "FLUSH" => OF_SCHEMA,
        _ => OF_ROWS,
    }
}

/// Plays a script; what the first step that differs did instead.
///
/// # Errors
/// The script cannot be played: a session is to speak that waits, or cannot be opened.
pub async fn compare(stage: &mut Stage<'_>, script: &Script, is_basalt: bool) -> Result<Option<String>> {
    // Sessions that wait elsewhere, and by design do not here.
    let mut exempt = BTreeSet::new();
    for (at, step) in script.steps.iter().enumerate() {
        let by_design = step.by_design.as_ref().filter(|_| is_basalt).map(|design| &design.answer);
        let wanted = by_design.unwrap_or(&step.answer);
        let found = match &step.deed {
            Deed::Returns if exempt.remove(&step.session) => continue,
            Deed::Returns => returned(stage, &step.session, wanted).await?,
            Deed::Says(sql) => {
                if step.answer == Answer::Waits && *wanted != Answer::Waits {
                    exempt.insert(step.session.clone());
                }
                if let Some(early) = returned_early(stage).await? {
                    return Ok(Some(format!("line {}: before this, {early}", step.line)));
                }
                stage.say(&step.session, sql).await?;
                said(stage, &step.session, sql, wanted).await?
            }
        };
        if let Some(found) = found {
            let deed = match &step.deed {
                Deed::Says(sql) => format!("{}> {sql}", step.session),
                Deed::Returns => format!("{} returns", step.session),
            };
            return Ok(Some(format!("line {}: {deed}\n      not: {}\n      but: {found}", step.line, wanted.text())));
        }
        let is_released = script.steps.get(at + 1).is_some_and(|next| matches!(next.deed, Deed::Returns));
        if !is_released && !stage.waiting().is_empty() {
            sleep(GRACE).await;
        }
    }
    let waiting = stage.waiting();
    Ok((!waiting.is_empty()).then(|| format!("at the end still waits: {}", waiting.join(", "))))
}

/// What came of a statement, where it is not what was wanted.
async fn said(stage: &mut Stage<'_>, session: &str, sql: &str, wanted: &Answer) -> Result<Option<String>> {
    let Times { waits, at_once } = times(sql);
    match wanted {
        Answer::Waits => stage.answer(session, waits).await,
        Answer::Deadlock(circle) => Ok(stage.deadlock(circle, at_once).await.err().map(|error| error.to_string())),
        Answer::Is(wanted) => {
            let found = stage.answer(session, at_once).await?;
            Ok(found.or(Some("waits".into())).filter(|found| found != wanted))
        }
    }
}

/// What came of a statement that has waited, where it is not what was wanted.
async fn returned(stage: &mut Stage<'_>, session: &str, wanted: &Answer) -> Result<Option<String>> {
    let found = stage.answer(session, RETURNS).await?;
    Ok(found.or(Some("still waits".into())).filter(|found| *found != wanted.text()))
}

/// Who has an answer though no line said so.
async fn returned_early(stage: &mut Stage<'_>) -> Result<Option<String>> {
    for session in stage.waiting() {
        if let Some(answer) = stage.answer(&session, Duration::ZERO).await? {
            return Ok(Some(format!("{session} returns: {answer}")));
        }
    }
    Ok(None)
}

/// Plays a script and writes its answers down; lines `X returns` are put where X returned.
///
/// # Errors
/// The script cannot be played, or ends while somebody waits.
pub async fn record(stage: &mut Stage<'_>, script: &Script) -> Result<Vec<Step>> {
    let mut out = Vec::new();
    for (at, step) in script.steps.iter().enumerate() {
        let is_waiting = stage.waiting().iter().any(|name| stage.called(name) == step.session);
        let answer = match (&step.deed, &step.answer) {
            // It returned before and is written down.
            (Deed::Returns, _) if !is_waiting => continue,
            (Deed::Returns, _) => match stage.answer(&step.session, RETURNS * 2).await? {
                Some(answer) => Answer::Is(answer),
                None => bail!("line {}: {} does not return", step.line, step.session),
            },
            (Deed::Says(sql), Answer::Deadlock(circle)) => {
                stage.say(&step.session, sql).await?;
                stage.deadlock(circle, WRITTEN.at_once).await?;
                step.answer.clone()
            }
            (Deed::Says(sql), _) => {
                stage.say(&step.session, sql).await?;
                let patience = if may_wait(sql) { WRITTEN.waits } else { WRITTEN.at_once };
                stage.answer(&step.session, patience).await?.map_or(Answer::Waits, Answer::Is)
            }
        };
        let waits = (answer == Answer::Waits).then(|| step.session.clone());
        out.push(Step { answer, ..step.clone() });
        if !script.steps.get(at + 1).is_some_and(|next| matches!(next.deed, Deed::Returns)) {
            sleep(WRITTEN_GRACE).await;
            record_returns(stage, waits.as_deref(), Duration::ZERO, &mut out).await?;
        }
    }
    record_returns(stage, None, RETURNS * 2, &mut out).await?;
    let waiting = stage.waiting();
    if !waiting.is_empty() {
        bail!("at the end still waits: {}", waiting.join(", "));
    }
    Ok(out)
}

/// Writes down who has returned, apart from the one who began to wait in this very step.
async fn record_returns(
    stage: &mut Stage<'_>,
    but: Option<&str>,
    patience: Duration,
    out: &mut Vec<Step>,
) -> Result<()> {
    for name in stage.waiting() {
        let session = stage.called(&name);
        if but == Some(session.as_str()) {
            continue;
        }
        if let Some(answer) = stage.answer(&name, patience).await? {
            let (deed, answer) = (Deed::Returns, Answer::Is(answer));
            out.push(Step { line: 0, comments: Vec::new(), session, deed, answer, by_design: None });
        }
    }
    Ok(())
}

/// Whether a statement may wait for others at all.
fn may_wait(sql: &str) -> bool {
    !matches!(
        first_word(sql).as_str(),
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "SET" | "KILL" | "UNLOCK" | "USE"
    )
}
