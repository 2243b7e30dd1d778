//! SHOW as a SELECT over made-up tables: WHERE and LIKE come for nothing, and there is one way to fill rows.

use super::BindContext;
use crate::catalog::information_schema;
use crate::catalog::model::{Schema, Table};
use crate::catalog::show_create::{self, literal, quoted};
use crate::error::{Error, Result};
use crate::parser::ast::{self, ColumnName, ObjectName, OrderItem, QueryBody};
use crate::parser::statement::{Show, ShowFilter, ShowWhat};
use crate::parser::{ParseOptions, Statement, parse_one};
use basalt_common::table_key;

/// What a SHOW selects, and the columns by which it is ordered and which LIKE looks at.
struct Template {
    sql: String,
    order: Vec<String>,
    like: String,
}

fn template(sql: impl Into<String>, order: &[&str], like: &str) -> Template {
    Template { sql: sql.into(), order: order.iter().map(|s| s.to_string()).collect(), like: like.to_string() }
}

impl Template {
    /// SHOW DATABASES and SHOW TABLES put the pattern into their column's name.
    fn name_pattern(&mut self, what: &ShowWhat, pattern: &str) {
        if matches!(what, ShowWhat::Databases | ShowWhat::Tables { .. }) {
            let name = format!("{} ({pattern})", self.like);
            self.sql = self.sql.replacen(&quoted(&self.like), &quoted(&name), 1);
            self.order = vec![name.clone()];
            self.like = name;
        }
    }
}

/// The query that a SHOW stands for.
///
/// # Errors
/// 1049, 1146 for databases and tables that are not there; 1235 for what is not shown.
pub fn show_query(show: &Show, ctx: &BindContext<'_>) -> Result<ast::Query> {
    let mut template = of(&show.what, ctx)?;
    if let Some(ShowFilter::Like(pattern)) = &show.filter {
        template.name_pattern(&show.what, pattern);
    }
    let text = format!("SELECT * FROM ({}) `show`", template.sql);
    let parsed = parse_one(text.as_bytes(), ParseOptions::default())?;
    let Some(Statement::Query(mut query)) = parsed.map(|p| p.statement) else {
        return Err(Error::internal(format!("not a query: {text}")));
    };
    let column = |name: &str| ast::Expr::Column(ColumnName { database: None, table: None, name: name.to_string() });
    if let QueryBody::Select(select) = &mut query.body {
        select.filter = match &show.filter {
            None => None,
            Some(ShowFilter::Where(filter)) => Some(filter.clone()),
            Some(ShowFilter::Like(pattern)) => Some(ast::Expr::Like {
                expr: Box::new(column(&template.like)),
                pattern: Box::new(ast::Expr::Literal(ast::Literal::String {
                    bytes: pattern.clone().into_bytes(),
                    charset: None,
                })),
                escape: None,
                negated: false,
            }),
        };
    }
    query.order_by = template.order.iter().map(|name| OrderItem { expr: column(name), descending: false }).collect();
    if let ShowWhat::Warnings { limit, .. } = &show.what {
        query.limit = limit.clone();
    }
    Ok(*query)
}

fn of(what: &ShowWhat, ctx: &BindContext<'_>) -> Result<Template> {
    Ok(match what {
        ShowWhat::Databases => {
            template("SELECT SCHEMA_NAME `Database` FROM information_schema.SCHEMATA", &["Database"], "Database")
        }
        ShowWhat::Tables { full, database } => tables(*full, database.as_deref(), ctx)?,
        ShowWhat::TableStatus { database } => table_status(database.as_deref(), ctx)?,
        ShowWhat::Columns { full, table } => columns(*full, table, ctx)?,
        ShowWhat::Index(table) => index(table, ctx)?,
        ShowWhat::CreateTable(table) => {
            let (_, table) = stored_table(table, ctx)?;
            let text = show_create::create_table(&table);
            template(
                format!("SELECT {} `Table`, {} `Create Table`", literal(&table.name), literal(&text)),
                &[],
                "Table",
            )
        }
        ShowWhat::CreateDatabase { name, if_not_exists } => {
            let database = ctx.schema.database(name).ok_or_else(|| Error::unknown_database(name))?;
            let text = literal(&show_create::create_database(database, *if_not_exists));
            template(
                format!("SELECT {} `Database`, {text} `Create Database`", literal(&database.name)),
                &[],
                "Database",
            )
        }
        ShowWhat::Variables { global } => pairs(if *global { "GLOBAL_VARIABLES" } else { "SESSION_VARIABLES" }),
        ShowWhat::Status { global } => pairs(if *global { "GLOBAL_STATUS" } else { "SESSION_STATUS" }),
        ShowWhat::Warnings { errors, count, .. } => warnings(*errors, *count),
        ShowWhat::ProcessList { full } => {
            let info = if *full { "INFO" } else { "LEFT(INFO, 100)" };
            template(
                format!(
                    "SELECT ID `Id`, USER `User`, HOST `Host`, DB `db`, COMMAND `Command`, TIME `Time`, STATE `State`, {info} `Info` FROM information_schema.PROCESSLIST"
                ),
                &["Id"],
                "User",
            )
        }
        ShowWhat::Engines => template(
            "SELECT ENGINE `Engine`, SUPPORT `Support`, COMMENT `Comment`, TRANSACTIONS `Transactions`, XA, SAVEPOINTS `Savepoints` FROM information_schema.ENGINES",
            &[],
            "Engine",
        ),
        ShowWhat::EngineStatus { engine } if engine.eq_ignore_ascii_case("innodb") => template(
            "SELECT TYPE `Type`, NAME `Name`, STATUS `Status` FROM information_schema.BASALT_ENGINE_STATUS",
            &[],
            "",
        ),
        ShowWhat::EngineStatus { engine } => return Err(Error::unknown_engine(engine)),
        ShowWhat::Charsets => template(
            "SELECT CHARACTER_SET_NAME `Charset`, DESCRIPTION `Description`, DEFAULT_COLLATE_NAME `Default collation`, MAXLEN `Maxlen` FROM information_schema.CHARACTER_SETS",
            &["Charset"],
            "Charset",
        ),
        ShowWhat::Collations => template(
            "SELECT COLLATION_NAME `Collation`, CHARACTER_SET_NAME `Charset`, ID `Id`, IS_DEFAULT `Default`, IS_COMPILED `Compiled`, SORTLEN `Sortlen`, PAD_ATTRIBUTE `Pad_attribute` FROM information_schema.COLLATIONS",
            &["Collation"],
            "Collation",
        ),
        ShowWhat::Grants { user } => grants(user.as_ref(), ctx),
        ShowWhat::CreateUser(user, host) => {
            let (user, host) = if user.is_empty() { ctx.account } else { (user.as_str(), host.as_str()) };
            let column = quoted(&format!("CREATE USER for {user}@{host}"));
            let sql = format!(
                "SELECT ACCOUNT_TEXT {column} FROM information_schema.BASALT_GRANTS WHERE USER = {} AND HOST = {} AND POSITION = 0",
                literal(user),
                literal(host)
            );
            template(sql, &[], "")
        }
        ShowWhat::Plugins => template(
            "SELECT PLUGIN_NAME `Name`, PLUGIN_STATUS `Status`, PLUGIN_TYPE `Type`, PLUGIN_LIBRARY `Library`, PLUGIN_LICENSE `License` FROM information_schema.PLUGINS",
            &["Name"],
            "Name",
        ),
        ShowWhat::Privileges => template(
            "SELECT 'Super' `Privilege`, 'Server Admin' `Context`, 'All privileges' `Comment`",
            &[],
            "Privilege",
        ),
        ShowWhat::Triggers => template(
            "SELECT TRIGGER_NAME `Trigger`, EVENT_MANIPULATION `Event`, EVENT_OBJECT_TABLE `Table`, ACTION_STATEMENT `Statement`, ACTION_TIMING `Timing`, CREATED `Created`, SQL_MODE `sql_mode`, DEFINER `Definer`, CHARACTER_SET_CLIENT `character_set_client`, COLLATION_CONNECTION `collation_connection`, DATABASE_COLLATION `Database Collation` FROM information_schema.TRIGGERS",
            &["Trigger"],
            "Table",
        ),
        ShowWhat::Events => template(
            "SELECT EVENT_SCHEMA `Db`, EVENT_NAME `Name`, DEFINER `Definer`, TIME_ZONE `Time zone`, EVENT_TYPE `Type`, EXECUTE_AT `Execute at`, INTERVAL_VALUE `Interval value`, INTERVAL_FIELD `Interval field`, STARTS `Starts`, ENDS `Ends`, STATUS `Status`, ORIGINATOR `Originator`, CHARACTER_SET_CLIENT `character_set_client`, COLLATION_CONNECTION `collation_connection`, DATABASE_COLLATION `Database Collation` FROM information_schema.EVENTS",
            &["Name"],
            "Name",
        ),
        ShowWhat::Routines => template(
            "SELECT ROUTINE_SCHEMA `Db`, ROUTINE_NAME `Name`, ROUTINE_TYPE `Type`, DEFINER `Definer`, LAST_ALTERED `Modified`, CREATED `Created`, SECURITY_TYPE `Security_type`, ROUTINE_COMMENT `Comment`, CHARACTER_SET_CLIENT `character_set_client`, COLLATION_CONNECTION `collation_connection`, DATABASE_COLLATION `Database Collation` FROM information_schema.ROUTINES",
            &["Name"],
            "Name",
        ),
        ShowWhat::OpenTables => template(
            "SELECT TABLE_SCHEMA `Database`, TABLE_NAME `Table`, 0 `In_use`, 0 `Name_locked` FROM information_schema.TABLES WHERE FALSE",
            &["Database", "Table"],
            "Table",
        ),
        ShowWhat::BinaryLogStatus | ShowWhat::BinaryLogs => {
            return Err(Error::User {
                code: 1381,
                sqlstate: "HY000",
                message: "You are not using binary logging".to_string(),
            });
        }
        ShowWhat::ReplicaStatus => {
            template("SELECT '' `Replica_IO_State`, '' `Source_Host` FROM DUAL WHERE FALSE", &[], "")
        }
        ShowWhat::Regions { table, index } => regions(table, index.as_deref(), ctx)?,
        ShowWhat::Stores => template("SELECT * FROM information_schema.BASALT_STORES", &["STORE_ID"], "ADDRESS"),
        ShowWhat::Unsupported(what) => return Err(Error::unsupported(what)),
    })
}

/// The database that a SHOW is about, checked.
fn database(name: Option<&str>, ctx: &BindContext<'_>) -> Result<String> {
    let name = name.or(ctx.database).ok_or_else(Error::no_database)?;
    match ctx.schema.database(name) {
        Some(found) => Ok(found.name.clone()),
        None if information_schema::is_database(name) => Ok(name.to_lowercase()),
        None => Err(Error::unknown_database(name)),
    }
}

fn stored_table(name: &ObjectName, ctx: &BindContext<'_>) -> Result<(String, std::sync::Arc<Table>)> {
    let database = database(name.database.as_deref(), ctx)?;
    let schema: &Schema = ctx.schema;
    match schema.table(&database, &name.name) {
        Some(table) => Ok((database, table.clone())),
        None => Err(Error::no_such_table(&database, &name.name)),
    }
}

/// Database and name of a table that is stored or made up.
fn any_table(name: &ObjectName, ctx: &BindContext<'_>) -> Result<(String, String)> {
    let database = database(name.database.as_deref(), ctx)?;
    if let Some(table) = ctx.schema.table(&database, &name.name) {
        return Ok((database, table.name.clone()));
    }
    match information_schema::columns(&database, &name.name) {
        Some(_) => Ok((database, name.name.clone())),
        None => Err(Error::no_such_table(&database, &name.name)),
    }
}

fn tables(full: bool, name: Option<&str>, ctx: &BindContext<'_>) -> Result<Template> {
    let database = database(name, ctx)?;
    let column = format!("Tables_in_{database}");
    let kind = if full { ", TABLE_TYPE `Table_type`" } else { "" };
    let sql = format!(
        "SELECT TABLE_NAME {}{kind} FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
        quoted(&column),
        literal(&database)
    );
    Ok(template(sql, &[&column], &column))
}

fn table_status(name: Option<&str>, ctx: &BindContext<'_>) -> Result<Template> {
    let sql = format!(
        "SELECT TABLE_NAME `Name`, ENGINE `Engine`, VERSION `Version`, ROW_FORMAT `Row_format`, TABLE_ROWS `Rows`, AVG_ROW_LENGTH `Avg_row_length`, DATA_LENGTH `Data_length`, MAX_DATA_LENGTH `Max_data_length`, INDEX_LENGTH `Index_length`, DATA_FREE `Data_free`, AUTO_INCREMENT `Auto_increment`, CREATE_TIME `Create_time`, UPDATE_TIME `Update_time`, CHECK_TIME `Check_time`, TABLE_COLLATION `Collation`, CHECKSUM `Checksum`, CREATE_OPTIONS `Create_options`, TABLE_COMMENT `Comment` FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}",
        literal(&database(name, ctx)?)
    );
    Ok(template(sql, &["Name"], "Name"))
}

fn columns(full: bool, table: &ObjectName, ctx: &BindContext<'_>) -> Result<Template> {
    let (database, table) = any_table(table, ctx)?;
    let (collation, tail) = match full {
        true => (", COLLATION_NAME `Collation`", ", PRIVILEGES `Privileges`, COLUMN_COMMENT `Comment`"),
        false => ("", ""),
    };
    let sql = format!(
        "SELECT COLUMN_NAME `Field`, COLUMN_TYPE `Type`{collation}, IS_NULLABLE `Null`, COLUMN_KEY `Key`, COLUMN_DEFAULT `Default`, EXTRA `Extra`{tail} FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(&database),
        literal(&table)
    );
    Ok(template(sql, &[], "Field"))
}

fn index(table: &ObjectName, ctx: &BindContext<'_>) -> Result<Template> {
    let (database, table) = any_table(table, ctx)?;
    let sql = format!(
        "SELECT TABLE_NAME `Table`, NON_UNIQUE `Non_unique`, INDEX_NAME `Key_name`, SEQ_IN_INDEX `Seq_in_index`, COLUMN_NAME `Column_name`, COLLATION `Collation`, CARDINALITY `Cardinality`, SUB_PART `Sub_part`, PACKED `Packed`, NULLABLE `Null`, INDEX_TYPE `Index_type`, COMMENT `Comment`, INDEX_COMMENT `Index_comment`, IS_VISIBLE `Visible`, EXPRESSION `Expression` FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(&database),
        literal(&table)
    );
    Ok(template(sql, &[], "Key_name"))
}

fn pairs(table: &str) -> Template {
    let sql = format!("SELECT VARIABLE_NAME `Variable_name`, VARIABLE_VALUE `Value` FROM information_schema.{table}");
    template(sql, &["Variable_name"], "Variable_name")
}

fn warnings(errors: bool, count: bool) -> Template {
    let only = if errors { " WHERE LEVEL = 'Error'" } else { "" };
    let name = if errors { "@@session.error_count" } else { "@@session.warning_count" };
    let sql = match count {
        true => format!("SELECT COUNT(*) {} FROM information_schema.BASALT_WARNINGS{only}", quoted(name)),
        false => {
            format!(
                "SELECT LEVEL `Level`, CODE `Code`, MESSAGE `Message` FROM information_schema.BASALT_WARNINGS{only}"
            )
        }
    };
    template(sql, &[], "Message")
}

fn grants(user: Option<&(String, String)>, ctx: &BindContext<'_>) -> Template {
    let (user, host) = match user {
        Some((user, host)) if !user.is_empty() => (user.as_str(), host.as_str()),
        _ => ctx.account,
    };
    let column = quoted(&format!("Grants for {user}@{host}"));
    let sql = format!(
        "SELECT GRANT_TEXT {column} FROM information_schema.BASALT_GRANTS WHERE USER = {} AND HOST = {} ORDER BY POSITION",
        literal(user),
        literal(host)
    );
    template(sql, &[], "")
}

fn regions(table: &ObjectName, index: Option<&str>, ctx: &BindContext<'_>) -> Result<Template> {
    let (_, table) = stored_table(table, ctx)?;
    let range = match index {
        None => table_key::table_range(table.id),
        Some(name) => {
            let found = table.index(name).ok_or_else(|| Error::no_such_key(name, &table.name))?;
            table_key::index_range(table.id, found.id)
        }
    };
    let hex = |key: &[u8]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sql = format!(
        "SELECT REGION_ID, START_KEY, END_KEY, LEADER_ID, LEADER_STORE_ID, PEERS, SIZE_BYTES, `KEYS` FROM information_schema.BASALT_REGIONS WHERE RAW_START < x'{}' AND (RAW_END > x'{}' OR RAW_END = '')",
        hex(range.end.as_slice()),
        hex(range.start.as_slice())
    );
    Ok(template(sql, &["REGION_ID"], "START_KEY"))
}
