//! One schema change from its statement to its answer.

use super::alter::{self, IndexChange};
use super::create_table::{TableDefaults, build_table};
use super::exclusive::exclusively;
use super::names;
use super::table_lock::TableLock;
use crate::binder::collation_of;
use crate::catalog::model::{Database, Schema, SchemaState, Table};
use crate::catalog::store::Step;
use crate::catalog::{Catalog, Wanted, config, keys};
use crate::error::{Error, Result};
use crate::parser::ast::ObjectName;
use crate::parser::statement::{CreateTable, Ddl, KeyDefinition};
use crate::server::kill::KillSwitch;
use basalt_common::TableId;
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often a step is tried when another server's change gets in between.
const STEP_TRIES: u32 = 20;
/// How long it waits then.
pub(super) const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// What a schema change needs of its session.
pub struct DdlContext<'a> {
    /// The catalog.
    pub catalog: &'a Catalog,
    /// The current database.
    pub database: Option<&'a str>,
    /// Modes, and where notes go (`IF NOT EXISTS` on what exists).
    pub eval: &'a EvalContext,
    /// Whether an unknown ENGINE is only noted (sql_mode without NO_ENGINE_SUBSTITUTION).
    pub engine_substitution: bool,
    /// The statement's text, for the list of jobs.
    pub statement: &'a str,
    /// Flipped when the statement must stop.
    pub kill: &'a KillSwitch,
    /// How long it waits for transactions that use a table (`lock_wait_timeout`).
    pub lock_wait_timeout: Duration,
    /// What the session has locked by LOCK TABLES: all that the change is about.
    pub lock: Option<&'a TableLock>,
    /// Takes what the process list shows of a change that takes its time.
    pub show_state: &'a (dyn Fn(&str) + Send + Sync),
}

impl DdlContext<'_> {
    fn database_of<'n>(&'n self, name: &'n ObjectName) -> Result<&'n str> {
        name.database.as_deref().or(self.database).ok_or_else(Error::no_database)
    }

    pub(super) fn note(&self, error: &Error) {
        self.eval.warnings.push(error.code(), error.to_string());
    }

    /// What is to be made is there, or what is to go is not: a note when the statement says so, else its error.
    fn nothing_to_do(&self, is_allowed: bool, error: Error) -> Result<bool> {
        if !is_allowed {
            return Err(error);
        }
        self.note(&error);
        Ok(false)
    }
}

/// Runs a schema change; at return every SQL server works under the new schema.
///
/// # Errors
/// MySQL's. A change that failed left nothing behind.
pub async fn execute(ctx: &DdlContext<'_>, ddl: &Ddl) -> Result<()> {
    match ddl {
        Ddl::CreateDatabase { name, if_not_exists, charset, collation } => {
            create_database(ctx, name, *if_not_exists, charset.as_deref(), collation.as_deref()).await
        }
        Ddl::AlterDatabase { name, charset, collation } => {
            let name = name.as_deref().or(ctx.database).ok_or_else(Error::no_database)?;
            alter_database(ctx, name, charset.as_deref(), collation.as_deref()).await
        }
        Ddl::DropDatabase { name, if_exists } => drop_database(ctx, name, *if_exists).await,
        Ddl::CreateTable(statement) => create_table(ctx, statement).await,
        Ddl::DropTable { tables, if_exists, temporary } => {
            if *temporary {
                Err(Error::unsupported("TEMPORARY tables"))
            } else {
                drop_tables(ctx, tables, *if_exists).await
            }
        }
        Ddl::DropView { views, if_exists } => {
            let first = views.first().map_or(String::new(), |v| v.name.clone());
            let error = Error::unknown_table(first);
            if *if_exists {
                ctx.note(&error);
                Ok(())
            } else {
                Err(error)
            }
        }
        Ddl::Truncate(name) => truncate(ctx, name).await,
        Ddl::Rename(pairs) => rename(ctx, pairs, false).await,
        Ddl::AlterTable { table, actions } => alter::alter_table(ctx, table, actions).await,
        Ddl::CreateIndex { table, key, if_not_exists } => {
            let key = KeyDefinition { if_not_exists: *if_not_exists, ..key.clone() };
            alter::change_indexes(ctx, table, &[IndexChange::Add(&key)]).await
        }
        Ddl::DropIndex { table, name, if_exists } => {
            alter::change_indexes(ctx, table, &[IndexChange::Drop { name, if_exists: *if_exists }]).await
        }
    }
}

/// Runs a change of one step: `change` edits what the step's transaction sees, and says whether there is anything to do.
pub(super) async fn one_step<F>(ctx: &DdlContext<'_>, mut change: F) -> Result<()>
where
    F: FnMut(&mut Step) -> Result<bool>,
{
    let mut tries = 0;
    loop {
        let mut step = Step::begin(ctx.catalog).await?;
        if !change(&mut step)? {
            return Ok(());
        }
        match step.commit().await {
            Ok(version) => return ctx.catalog.wait_for_all(version, &Wanted::default(), &|| Ok(())).await,
            Err(error) if error.is_write_conflict() && tries < STEP_TRIES => {
                tries += 1;
                tokio::time::sleep(CONFLICT_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_system(name: &str) -> bool {
    ["information_schema", "mysql", "performance_schema", "sys"].iter().any(|s| s.eq_ignore_ascii_case(name))
}

fn denied(name: &str) -> Error {
    Error::User { code: 1044, sqlstate: "42000", message: format!("Access denied to system database '{name}'") }
}

async fn create_database(
    ctx: &DdlContext<'_>,
    name: &str,
    if_not_exists: bool,
    charset: Option<&str>,
    collation: Option<&str>,
) -> Result<()> {
    names::check_database(name)?;
    let collation = collation_of(charset, collation, Collation::default())?;
    let id = ctx.catalog.cluster().pd().allocate_ids(1).await?;
    one_step(ctx, |step| {
        if step.schema.database(name).is_some() || is_system(name) {
            let error = Error::database_exists(name);
            return ctx.nothing_to_do(if_not_exists, error);
        }
        let database = Database {
            id,
            name: name.to_string(),
            charset: collation.charset().to_string(),
            collation: collation.name().to_string(),
            tables: BTreeMap::new(),
        };
        step.put_database(&database)?;
        Ok(true)
    })
    .await
}

async fn alter_database(
    ctx: &DdlContext<'_>,
    name: &str,
    charset: Option<&str>,
    collation: Option<&str>,
) -> Result<()> {
    if (charset, collation) == (None, None) {
        return Ok(());
    }
    let collation = collation_of(charset, collation, Collation::default())?;
    one_step(ctx, |step| {
        let mut database = (**step.schema.database(name).ok_or_else(|| Error::unknown_database(name))?).clone();
        database.charset = collation.charset().to_string();
        database.collation = collation.name().to_string();
        step.put_database(&database)?;
        Ok(true)
    })
    .await
}

async fn drop_database(ctx: &DdlContext<'_>, name: &str, if_exists: bool) -> Result<()> {
    if is_system(name) {
        return Err(denied(name));
    }
    let tables = |schema: &Schema| {
        Ok(schema.database(name).map_or(Vec::new(), |database| database.tables.values().map(|t| t.id).collect()))
    };
    exclusively(ctx, tables, |step| {
        let Some(database) = step.schema.database(name).cloned() else {
            let error = Error::no_database_to_drop(name);
            return ctx.nothing_to_do(if_exists, error);
        };
        for table in database.tables.values() {
            step.delete_table(table)?;
        }
        step.delete_database(&database)?;
        Ok(true)
    })
    .await
}

async fn create_table(ctx: &DdlContext<'_>, statement: &CreateTable) -> Result<()> {
    if statement.select.is_some() {
        return Err(Error::unsupported("CREATE TABLE … SELECT"));
    }
    let database_name = ctx.database_of(&statement.name)?;
    if is_system(database_name) {
        return Err(denied(database_name));
    }
    names::check_table(&statement.name.name)?;
    check_engine(ctx, statement)?;
    if statement.like.as_ref().is_some_and(|like| is_same_table(ctx, like, &statement.name)) {
        return Err(Error::duplicate_alias(&statement.name.name));
    }
    let id = TableId(ctx.catalog.cluster().pd().allocate_ids(1).await?);
    let now_unix_ms = ctx.catalog.cluster().timestamp().await?.physical_ms();
    one_step(ctx, |step| {
        let database =
            step.schema.database(database_name).cloned().ok_or_else(|| Error::unknown_database(database_name))?;
        if database.tables.contains_key(&statement.name.name.to_lowercase()) {
            let error = Error::table_exists(&statement.name.name);
            return ctx.nothing_to_do(statement.if_not_exists, error);
        }
        if step.schema.databases.values().map(|d| d.tables.len()).sum::<usize>() >= config::TABLES_MAX {
            return Err(Error::Internal(format!("a cluster holds at most {} tables", config::TABLES_MAX)));
        }
        let table = match &statement.like {
            None => {
                let defaults = TableDefaults {
                    id,
                    database_id: database.id,
                    charset: database.charset.clone(),
                    collation: database.collation.clone(),
                    now_unix_ms,
                };
                build_table(statement, defaults, ctx.eval)?
            }
            Some(like) => {
                let mut table = (*find(&step.schema, ctx, like)?).clone();
                (table.id, table.database_id, table.name) = (id, database.id, statement.name.name.clone());
                table.created_unix_ms = now_unix_ms;
                // What another statement is adding or dropping is not there.
                table.indexes.retain(|i| i.state == SchemaState::Public);
                table
            }
        };
        if let Some(next) = statement.options.auto_increment {
            step.put_number(keys::auto_increment(id), next.max(1))?;
        }
        step.put_table(&table)?;
        Ok(true)
    })
    .await
}

/// There is one engine, which goes by the names of MySQL's.
fn check_engine(ctx: &DdlContext<'_>, statement: &CreateTable) -> Result<()> {
    const KNOWN: &[&str] =
        &["innodb", "myisam", "memory", "heap", "csv", "archive", "blackhole", "merge", "mrg_myisam"];
    let Some(engine) = &statement.options.engine else { return Ok(()) };
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(engine)) {
        return Ok(());
    }
    let error = Error::unknown_engine(engine);
    if !ctx.engine_substitution {
        return Err(error);
    }
    ctx.note(&error);
    Ok(())
}

fn is_same_table(ctx: &DdlContext<'_>, a: &ObjectName, b: &ObjectName) -> bool {
    let same_database = matches!((ctx.database_of(a), ctx.database_of(b)), (Ok(a), Ok(b)) if a.eq_ignore_ascii_case(b));
    same_database && a.name.eq_ignore_ascii_case(&b.name)
}

/// A table by its name in the statement.
pub(super) fn find(schema: &Schema, ctx: &DdlContext<'_>, name: &ObjectName) -> Result<Arc<Table>> {
    let database = ctx.database_of(name)?;
    if schema.database(database).is_none() {
        return Err(Error::unknown_database(database));
    }
    schema.table(database, &name.name).cloned().ok_or_else(|| Error::no_such_table(database, &name.name))
}

async fn drop_tables(ctx: &DdlContext<'_>, tables: &[ObjectName], if_exists: bool) -> Result<()> {
    let mut names = BTreeSet::new();
    for name in tables {
        if !names.insert((ctx.database_of(name)?.to_lowercase(), name.name.to_lowercase())) {
            return Err(Error::duplicate_alias(&name.name));
        }
    }
    let look_up = |schema: &Schema| {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for name in tables {
            match schema.table(ctx.database_of(name)?, &name.name) {
                Some(table) => found.push(table.clone()),
                None => missing.push(format!("{}.{}", ctx.database_of(name)?, name.name)),
            }
        }
        if !missing.is_empty() && !if_exists {
            return Err(Error::unknown_table(missing.join(",")));
        }
        Ok((found, missing))
    };
    let ids = |schema: &Schema| Ok(look_up(schema)?.0.iter().map(|table: &Arc<Table>| table.id).collect());
    exclusively(ctx, ids, |step| {
        let (found, missing) = look_up(&step.schema)?;
        missing.iter().for_each(|name| ctx.note(&Error::unknown_table(name)));
        for table in &found {
            step.delete_table(table)?;
        }
        Ok(!found.is_empty())
    })
    .await
}

async fn truncate(ctx: &DdlContext<'_>, name: &ObjectName) -> Result<()> {
    let id = TableId(ctx.catalog.cluster().pd().allocate_ids(1).await?);
    exclusively(
        ctx,
        |schema| Ok(vec![find(schema, ctx, name)?.id]),
        |step| {
            let old = find(&step.schema, ctx, name)?;
            let mut table = (*old).clone();
            table.id = id;
            // An index that was being added has nothing left to fill in; its job finds the table gone and ends.
            table.indexes.retain(|i| i.state == SchemaState::Public);
            step.replace_table(&old, &table)?;
            Ok(true)
        },
    )
    .await
}

/// RENAME TABLE, or ALTER TABLE … RENAME, which may also give a table the name that it has.
pub(super) async fn rename(ctx: &DdlContext<'_>, pairs: &[(ObjectName, ObjectName)], is_alter: bool) -> Result<()> {
    let tables = |schema: &Schema| {
        // A name that an earlier pair of the list makes is that pair's table.
        let made =
            |name: &ObjectName, before: usize| pairs[..before].iter().any(|(_, to)| is_same_table(ctx, to, name));
        let named = pairs.iter().enumerate().filter(|(at, (from, _))| !made(from, *at));
        named.map(|(_, (from, _))| Ok(find(schema, ctx, from)?.id)).collect()
    };
    exclusively(ctx, tables, |step| {
        // `RENAME a TO b, b TO c` sees its own effects in order.
        let mut schema = step.schema.clone();
        let mut has_changed = false;
        for (from, to) in pairs {
            let old = find(&schema, ctx, from)?;
            let database = renamed_into(&schema, ctx, &old, to)?;
            if old.database_id == database.id && old.name == to.name {
                if is_alter {
                    continue;
                }
                return Err(Error::table_exists(&to.name));
            }
            let mut table = (*old).clone();
            if old.database_id != database.id {
                step.txn.delete(keys::table(old.database_id, old.id))?;
            }
            (table.database_id, table.name) = (database.id, to.name.clone());
            step.put_table(&table)?;
            move_in(&mut schema, &old, table);
            has_changed = true;
        }
        Ok(has_changed)
    })
    .await
}

/// The database that a table gets into by its new name.
fn renamed_into(schema: &Schema, ctx: &DdlContext<'_>, old: &Table, to: &ObjectName) -> Result<Arc<Database>> {
    names::check_table(&to.name)?;
    let name = ctx.database_of(to)?;
    if is_system(name) {
        return Err(denied(name));
    }
    let database = schema.database(name).cloned().ok_or_else(|| Error::unknown_database(name))?;
    // Names are found in any case: a table may get its own name in another one.
    match database.tables.get(&to.name.to_lowercase()) {
        Some(there) if there.id != old.id => Err(Error::table_exists(&to.name)),
        _ => Ok(database),
    }
}

/// Refuses what [`rename`] would refuse now.
pub(super) fn rename_is_possible(
    schema: &Schema,
    ctx: &DdlContext<'_>,
    from: &ObjectName,
    to: &ObjectName,
) -> Result<()> {
    renamed_into(schema, ctx, &*find(schema, ctx, from)?, to).map(|_| ())
}

fn move_in(schema: &mut Schema, old: &Table, new: Table) {
    for database in schema.databases.values_mut() {
        if database.id == old.database_id {
            Arc::make_mut(database).tables.remove(&old.name.to_lowercase());
        }
    }
    for database in schema.databases.values_mut() {
        if database.id == new.database_id {
            Arc::make_mut(database).tables.insert(new.name.to_lowercase(), Arc::new(new.clone()));
        }
    }
}
