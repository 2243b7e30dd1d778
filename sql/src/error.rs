//! What goes wrong in the SQL server, by what happens next, and the one place that turns it into MySQL's words.
//!
//! Most errors are the user's ([`Error::User`]): they carry MySQL's number, SQLSTATE and text from where they arise, and
//! the constructors below are the only places that spell those texts. Errors of lower layers are kept as they are, so
//! that a caller can still react (retry a write conflict), and are translated by [`Error::to_mysql`] when they leave.

use basalt_expr::error::{EvalError, ExprError};
use basalt_expr::value::Value;

/// An error of the SQL server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The statement, or what it asks of these data, is wrong: tell the user.
    #[error("{message}")]
    User {
        /// MySQL's error number.
        code: u16,
        /// The SQLSTATE that goes with it.
        sqlstate: &'static str,
        /// MySQL's text.
        message: String,
    },
    /// A value could not be calculated or stored: tell the user.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The cluster could not do it: a conflict, a lock, a region without leader.
    #[error(transparent)]
    Client(#[from] basalt_client::Error),
    /// The schema changed under the statement: bind it again and run it once more.
    #[error("Information schema is changed during the execution of the statement")]
    SchemaChanged,
    /// A table was being changed when the statement was bound, and is not any more: bind it again. It has not begun.
    #[error("Information schema is changed during the execution of the statement")]
    BindAgain,
    /// KILL QUERY, KILL CONNECTION, or the client went away: stop.
    #[error("Query execution was interrupted")]
    Killed,
    /// A server cannot start with what it was given: tell whoever starts it.
    #[error("{0}")]
    Start(String),
    /// A fault of ours: tell the user and the log.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<ExprError> for Error {
    fn from(error: ExprError) -> Self {
        match error {
            ExprError::Eval(error) => Error::Eval(error),
            other => Error::User { code: other.code(), sqlstate: other.sqlstate(), message: other.to_string() },
        }
    }
}

impl Error {
    /// MySQL's number, SQLSTATE and text.
    pub fn to_mysql(&self) -> (u16, &'static str, String) {
        match self {
            Error::User { code, sqlstate, message } => (*code, sqlstate, message.clone()),
            Error::Eval(EvalError::Memory(exceeded)) => Error::from(exceeded.clone()).to_mysql(),
            Error::Eval(error) => (error.code(), error.sqlstate(), error.to_string()),
            Error::Client(error) => client_error(error),
            Error::SchemaChanged | Error::BindAgain => (8028, "HY000", self.to_string()),
            Error::Killed => (1317, "70100", self.to_string()),
            Error::Start(_) | Error::Internal(_) => (1105, "HY000", self.to_string()),
        }
    }

    /// MySQL's number.
    pub fn code(&self) -> u16 {
        self.to_mysql().0
    }

    /// True when the statement was stopped from outside: KILL, or its time was over.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Error::Killed) || self.code() == Error::timed_out().code()
    }

    /// True when somebody else committed in between, or rolled this transaction back: it had no effect and may run again.
    pub fn is_write_conflict(&self) -> bool {
        matches!(self, Error::Client(basalt_client::Error::WriteConflict { .. } | basalt_client::Error::Aborted { .. }))
    }

    /// True when the account, or the session by its LOCK TABLES, may not do it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Error::User { code: 1100 | 1142..=1144, .. })
    }

    /// True when it is not known whether the transaction committed; only what does no harm twice may run again.
    pub fn is_undetermined(&self) -> bool {
        matches!(self, Error::Client(basalt_client::Error::Undetermined(_)))
    }
}

/// MySQL's (or TiDB's) number, SQLSTATE and text of the cluster's errors.
fn client_error(error: &basalt_client::Error) -> (u16, &'static str, String) {
    use basalt_client::Error as E;
    let text = error.to_string();
    match error {
        E::WriteConflict { .. } | E::Aborted { .. } => {
            (9007, "HY000", format!("Write conflict, {text} [try again later]"))
        }
        E::Deadlock { .. } | E::ReadChanged { .. } => {
            (1213, "40001", "Deadlock found when trying to get lock; try restarting transaction".into())
        }
        E::LockTimeout { .. } | E::WouldWait { .. } => {
            (1205, "HY000", "Lock wait timeout exceeded; try restarting transaction".into())
        }
        E::LockNotAvailable { .. } => (
            3572,
            "HY000",
            "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.".into(),
        ),
        E::AlreadyExists { .. } => (1062, "23000", text),
        E::Undetermined(_) => (8501, "HY000", format!("{text}; the transaction may or may not have committed")),
        E::RegionUnavailable(_) => (9005, "HY000", text),
        E::DiskFull(place) => (1021, "HY000", format!("Disk full ({place}); free some space and try again")),
        E::BelowSafePoint { .. } => (
            9006,
            "HY000",
            format!(
                "Snapshot too old, {text}; [gc] life_time and longest_snapshot of the placement driver say how long versions are kept"
            ),
        ),
        E::PdUnavailable(_) => (9001, "HY000", text),
        E::TxnTooLarge { size, unit, limit } => (
            8004,
            "HY000",
            format!(
                "Transaction is too large, size: {size} {unit}, limit: {limit} (by basalt_txn_bytes_max); write less at a time"
            ),
        ),
        E::EntryTooLarge { .. } => (8025, "HY000", text),
        E::CommitTsTooLarge { .. } => (8028, "HY000", text),
        E::Sql { code, message, .. } => (*code, basalt_expr::error::sqlstate(*code), message.clone()),
        E::Shutdown => (1053, "08S01", "Server shutdown in progress".into()),
        E::AssertionFailed { .. } | E::Corrupt(_) | E::Invalid(_) => (1105, "HY000", text),
    }
}

macro_rules! user_errors {
    ($($(#[$doc:meta])* $code:literal $state:literal $name:ident($($arg:ident),*) = $text:literal;)*) => {
        impl Error {
            $($(#[$doc])*
            pub fn $name($($arg: impl std::fmt::Display),*) -> Error {
                Error::User { code: $code, sqlstate: $state, message: format!($text) }
            })*
        }
    };
}

user_errors! {
    /// 1007
    1007 "HY000" database_exists(name) = "Can't create database '{name}'; database exists";
    /// 1008
    1008 "HY000" no_database_to_drop(name) = "Can't drop database '{name}'; database doesn't exist";
    /// 1044
    1044 "42000" database_denied(user, host, database) = "Access denied for user '{user}'@'{host}' to database '{database}'";
    /// 1045
    1045 "28000" access_denied(user, host, password) = "Access denied for user '{user}'@'{host}' (using password: {password})";
    /// 1046
    1046 "3D000" no_database() = "No database selected";
    /// 1048
    1048 "23000" not_null(column) = "Column '{column}' cannot be null";
    /// 1049
    1049 "42000" unknown_database(name) = "Unknown database '{name}'";
    /// 1050
    1050 "42S01" table_exists(name) = "Table '{name}' already exists";
    /// 1051
    1051 "42S02" unknown_table(name) = "Unknown table '{name}'";
    /// 1052; `clause` as in `field list`
    1052 "23000" ambiguous_column(column, clause) = "Column '{column}' in {clause} is ambiguous";
    /// 1054; `clause` as in `field list`
    1054 "42S22" unknown_column(column, clause) = "Unknown column '{column}' in '{clause}'";
    /// 1055
    1055 "42000" not_grouped(position, clause, column) = "Expression #{position} of {clause} is not in GROUP BY clause and contains nonaggregated column '{column}' which is not functionally dependent on columns in GROUP BY clause; this is incompatible with sql_mode=only_full_group_by";
    /// 1056
    1056 "42000" cannot_group_on(name) = "Can't group on '{name}'";
    /// 1059
    1059 "42000" name_too_long(name) = "Identifier name '{name}' is too long";
    /// 1060
    1060 "42S21" duplicate_column(name) = "Duplicate column name '{name}'";
    /// 1061
    1061 "42000" duplicate_key_name(name) = "Duplicate key name '{name}'";
    /// 1062; `value` as in `1-2`, `key` as in `t.PRIMARY`
    1062 "23000" duplicate_entry(value, key) = "Duplicate entry '{value}' for key '{key}'";
    /// 1063
    1063 "42000" wrong_column_specifier(column) = "Incorrect column specifier for column '{column}'";
    /// 1065
    1065 "42000" empty_query() = "Query was empty";
    /// 1066
    1066 "42000" duplicate_alias(name) = "Not unique table/alias: '{name}'";
    /// 1067
    1067 "42000" invalid_default(column) = "Invalid default value for '{column}'";
    /// 1068
    1068 "42000" two_primary_keys() = "Multiple primary key defined";
    /// 1069
    1069 "42000" too_many_keys(max) = "Too many keys specified; max {max} keys allowed";
    /// 1070
    1070 "42000" too_many_key_parts(max) = "Too many key parts specified; max {max} parts allowed";
    /// 1071
    1071 "42000" key_too_long(max) = "Specified key was too long; max key length is {max} bytes";
    /// 1072
    1072 "42000" no_key_column(column) = "Key column '{column}' doesn't exist in table";
    /// 1074
    1074 "42000" column_too_long(column, max) = "Column length too big for column '{column}' (max = {max}); use BLOB or TEXT instead";
    /// 1075
    1075 "42000" wrong_auto_increment() = "Incorrect table definition; there can be only one auto column and it must be defined as a key";
    /// 1089
    1089 "HY000" wrong_prefix() = "Incorrect prefix key; the used key part isn't a string, the used length is longer than the key part, or the storage engine doesn't support unique prefix keys";
    /// 1090
    1090 "42000" cannot_drop_all_columns() = "You can't delete all columns with ALTER TABLE; use DROP TABLE instead";
    /// 1091
    1091 "42000" cannot_drop_key(name) = "Can't DROP '{name}'; check that column/key exists";
    /// 1093
    1093 "HY000" update_table_used(table) = "You can't specify target table '{table}' for update in FROM clause";
    /// 1094
    1094 "HY000" no_such_thread(id) = "Unknown thread id: {id}";
    /// 1096
    1096 "HY000" no_tables_used() = "No tables used";
    /// 1099
    1099 "HY000" locked_for_reading(table) = "Table '{table}' was locked with a READ lock and can't be updated";
    /// 1100
    1100 "HY000" not_locked(table) = "Table '{table}' was not locked with LOCK TABLES";
    /// 1101
    1101 "42000" blob_default(column) = "BLOB, TEXT, GEOMETRY or JSON column '{column}' can't have a default value";
    /// 1102
    1102 "42000" wrong_database_name(name) = "Incorrect database name '{name}'";
    /// 1103
    1103 "42000" wrong_table_name(name) = "Incorrect table name '{name}'";
    /// 1109; `clause` as in `MULTI DELETE`
    1109 "42S02" unknown_table_in(table, clause) = "Unknown table '{table}' in {clause}";
    /// 1110
    1110 "42000" column_twice(column) = "Column '{column}' specified twice";
    /// 1111
    1111 "HY000" invalid_group_function() = "Invalid use of group function";
    /// 1113
    1113 "42000" no_columns() = "A table must have at least 1 column";
    /// 1115
    1115 "42000" unknown_charset(name) = "Unknown character set: '{name}'";
    /// 1116
    1116 "HY000" too_many_tables(max) = "Too many tables; MySQL can only use {max} tables in a join";
    /// 1117
    1117 "HY000" too_many_columns() = "Too many columns";
    /// 1120
    1120 "HY000" recursive_reference(name) = "Recursive reference to '{name}'";
    /// 1136
    1136 "21S01" wrong_value_count(row) = "Column count doesn't match value count at row {row}";
    /// 1140
    1140 "42000" mixed_group(position, clause, column) = "In aggregated query without GROUP BY, expression #{position} of {clause} contains nonaggregated column '{column}'; this is incompatible with sql_mode=only_full_group_by";
    /// 1146
    1146 "42S02" no_such_table(database, table) = "Table '{database}.{table}' doesn't exist";
    /// 1148
    1148 "42000" not_allowed() = "The used command is not allowed with this MySQL version";
    /// 1166
    1166 "42000" wrong_column_name(name) = "Incorrect column name '{name}'";
    /// 1170
    1170 "42000" key_without_length(column) = "BLOB/TEXT column '{column}' used in key specification without a key length";
    /// 1171
    1171 "42000" primary_key_null() = "All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead";
    /// 1176
    1176 "42000" no_such_key(key, table) = "Key '{key}' doesn't exist in table '{table}'";
    /// 1192
    1192 "HY000" tables_are_locked() = "Can't execute the given command because you have active locked tables or an active transaction";
    /// 1193
    1193 "HY000" unknown_variable(name) = "Unknown system variable '{name}'";
    /// 1205
    1205 "HY000" lock_wait_timeout() = "Lock wait timeout exceeded; try restarting transaction";
    /// 1210
    1210 "HY000" wrong_arguments(what) = "Incorrect arguments to {what}";
    /// 1213
    1213 "40001" deadlock() = "Deadlock found when trying to get lock; try restarting transaction";
    /// 1221
    1221 "HY000" wrong_usage(a, b) = "Incorrect usage of {a} and {b}";
    /// 1222
    1222 "21000" different_column_counts() = "The used SELECT statements have a different number of columns";
    /// 1175; MySQL's text ends in a space
    1175 "HY000" unsafe_update() = "You are using safe update mode and you tried to update a table without a WHERE that uses a KEY column. ";
    /// 1649
    1649 "HY000" unknown_locale(name) = "Unknown locale: '{name}'";
    /// 1227
    1227 "42000" privilege_needed(privilege) = "Access denied; you need (at least one of) the {privilege} privilege(s) for this operation";
    /// 1228
    1228 "HY000" session_variable(name) = "Variable '{name}' is a SESSION variable and can't be used with SET GLOBAL";
    /// 1229
    1229 "HY000" global_variable(name) = "Variable '{name}' is a GLOBAL variable and should be set with SET GLOBAL";
    /// 1231
    1231 "42000" wrong_variable_value(name, value) = "Variable '{name}' can't be set to the value of '{value}'";
    /// 1232
    1232 "42000" wrong_variable_type(name) = "Incorrect argument type to variable '{name}'";
    /// 1235; says what is not done
    1235 "42000" unsupported(what) = "This version of Basalt doesn't yet support '{what}'";
    /// 1238; `what` as in `read only`
    1238 "HY000" variable_is(name, what) = "Variable '{name}' is a {what} variable";
    /// 1241
    1241 "21000" operand_columns(count) = "Operand should contain {count} column(s)";
    /// 1242
    1242 "21000" subquery_rows() = "Subquery returns more than 1 row";
    /// 1243; `what` as in `EXECUTE`
    1243 "HY000" unknown_statement(name, what) = "Unknown prepared statement handler ({name}) given to {what}";
    /// 1247
    1247 "42S22" bad_reference(name, why) = "Reference '{name}' not supported ({why})";
    /// 1248
    1248 "42000" derived_without_alias() = "Every derived table must have its own alias";
    /// 1250
    1250 "42000" table_not_usable(table, clause) = "Table '{table}' from one of the SELECTs cannot be used in {clause}";
    /// 1253
    1253 "42000" collation_charset(collation, charset) = "COLLATION '{collation}' is not valid for CHARACTER SET '{charset}'";
    /// 1273
    1273 "HY000" unknown_collation(name) = "Unknown collation: '{name}'";
    /// 1280
    1280 "42000" wrong_index_name(name) = "Incorrect index name '{name}'";
    /// 1300: bytes that are no text, in hexadecimal digits
    1300 "HY000" invalid_string(charset, bytes) = "Invalid {charset} character string: '{bytes}'";
    /// 1286
    1286 "42000" unknown_engine(name) = "Unknown storage engine '{name}'";
    /// 1288; `statement` as in `UPDATE`
    1288 "HY000" not_updatable(table, statement) = "The target table {table} of the {statement} is not updatable";
    /// 1292: a number beyond a variable's bounds
    1292 "22007" truncated_setting(name, value) = "Truncated incorrect {name} value: '{value}'";
    /// 1294
    1294 "HY000" wrong_on_update(column) = "Invalid ON UPDATE clause for '{column}' column";
    /// 1295
    1295 "HY000" not_in_prepared() = "This command is not supported in the prepared statement protocol yet";
    /// 1298
    1298 "HY000" unknown_time_zone(name) = "Unknown or incorrect time zone: '{name}'";
    /// 1305; `kind` as in `FUNCTION`
    1305 "42000" does_not_exist(kind, name) = "{kind} {name} does not exist";
    /// 1317
    1317 "70100" interrupted() = "Query execution was interrupted";
    /// 1327
    1327 "42000" undeclared_variable(name) = "Undeclared variable: {name}";
    /// 1353
    1353 "HY000" wrong_column_list() = "In definition of view, derived table or common table expression, SELECT list and column names list have different column counts";
    /// 1364
    1364 "HY000" no_default(column) = "Field '{column}' doesn't have a default value";
    /// 1390
    1390 "HY000" too_many_placeholders() = "Prepared statement contains too many placeholders";
    /// 1396; `what` as in `CREATE USER`
    1396 "HY000" user_operation(what, user) = "Operation {what} failed for {user}";
    /// 1412
    1412 "HY000" table_definition_changed() = "Table definition has changed, please retry transaction";
    /// 1425
    1425 "42000" scale_too_big(scale, column, max) = "Too big scale {scale} specified for column '{column}'. Maximum is {max}.";
    /// 1426
    1426 "42000" precision_too_big(precision, column, max) = "Too-big precision {precision} specified for '{column}'. Maximum is {max}.";
    /// 1426, of a type in a cast.
    1426 "42000" cast_precision_too_big(precision) = "Too-big precision {precision} specified for 'CAST'. Maximum is 53.";
    /// 1427
    1427 "42000" scale_over_precision(column) = "For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '{column}').";
    /// 1436
    1436 "HY000" too_deep() = "Thread stack overrun: the statement is nested too deeply";
    /// 1439
    1439 "42000" display_width(column, max) = "Display width out of range for column '{column}' (max = {max})";
    /// 1461
    1461 "42000" too_many_statements(max) = "Can't create more than max_prepared_stmt_count statements (current value: {max})";
    /// 1473
    1473 "HY000" select_nesting() = "Too high level of nesting for select";
    /// 1525
    1525 "HY000" wrong_value(kind, value) = "Incorrect {kind} value: '{value}'";
    /// 1525
    1525 "HY000" not_y_or_n(value) = "Incorrect argument (should be Y or N) value: '{value}'";
    /// 1568
    1568 "25001" in_transaction() = "Transaction characteristics can't be changed while a transaction is in progress";
    /// 1690; `place` as in `EXECUTE`
    1690 "22003" unsigned_out_of_range(place) = "unsigned integer value is out of range in '{place}'";
    /// 1706
    1706 "HY000" key_of_two_names(one, other) = "Primary key/partition key update is not allowed since the table is updated both as '{one}' and '{other}'.";
    /// 1707: the index was written with other weights of its collation
    1707 "HY000" stale_index(table, index) = "Table rebuild required: key '{index}' of '{table}' was made with another version of its collation. Drop and add it, or dump the table with the version of Basalt that made it";
    /// 1582
    1582 "42000" parameter_count(function) = "Incorrect parameter count in the call to native function '{function}'";
    /// 1792
    1792 "25006" read_only_transaction() = "Cannot execute statement in a READ ONLY transaction.";
    /// 1831
    1831 "HY000" duplicate_index(name, table) = "Duplicate index '{name}' defined on the table '{table}'. This is deprecated and will be disallowed in a future release.";
    /// 3024
    3024 "HY000" timed_out() = "Query execution was interrupted, maximum statement execution time exceeded";
    /// 3568
    3568 "HY000" no_table_to_lock(name) = "Unresolved table name {name} in locking clause.";
    /// 3569
    3569 "HY000" locked_twice(name) = "Table {name} appears in multiple locking clauses.";
    /// 3572
    3572 "HY000" no_wait() = "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.";
    /// 3573
    3573 "HY000" cte_needs_union(name) = "Recursive Common Table Expression '{name}' should have one or more non-recursive query blocks followed by one or more recursive ones";
    /// 3029
    3029 "HY000" aggregate_orders_rows(position) = "Expression #{position} of ORDER BY contains aggregate function and applies to the result of a non-aggregated query";
    /// 3579
    3579 "HY000" unknown_window(name) = "Window name '{name}' is not defined.";
    /// 3580
    3580 "HY000" circular_windows() = "There is a circularity in the window dependency graph.";
    /// 3581
    3581 "HY000" window_repartitioned() = "A window which depends on another cannot define partitioning.";
    /// 3582
    3582 "HY000" window_has_frame(name) = "Window '{name}' has a frame definition, so cannot be referenced by another window.";
    /// 3583
    3583 "HY000" window_reordered(name, base) = "Window '{name}' cannot inherit '{base}' since both contain an ORDER BY clause.";
    /// 3584
    3584 "HY000" frame_starts_at_end(name) = "Window '{name}': frame start cannot be UNBOUNDED FOLLOWING.";
    /// 3585
    3585 "HY000" frame_ends_at_start(name) = "Window '{name}': frame end cannot be UNBOUNDED PRECEDING.";
    /// 3586
    3586 "HY000" bad_frame(name) = "Window '{name}': frame start or end is negative, NULL or of non-integral type";
    /// 3575
    3575 "HY000" recursive_aggregate(name) = "Recursive Common Table Expression '{name}' can contain neither aggregation nor window functions in recursive query block";
    /// 3577
    3577 "HY000" recursive_table_reference(name) = "In recursive query block of Recursive Common Table Expression '{name}', the recursive table must be referenced only once, and not in any subquery";
    /// 3587
    3587 "HY000" range_order(name) = "Window '{name}' with RANGE N PRECEDING/FOLLOWING frame requires exactly one deterministic ORDER BY expression, of numeric or temporal type";
    /// 3588
    3588 "HY000" range_wants_interval(name) = "Window '{name}' with RANGE frame has ORDER BY expression of datetime type. Only INTERVAL bound value allowed.";
    /// 3589
    3589 "HY000" range_wants_number(name) = "Window '{name}' with RANGE frame has ORDER BY expression of numeric type, INTERVAL bound value not allowed.";
    /// 3590
    3590 "HY000" frame_not_constant(name) = "Window '{name}' has a non-constant frame bound.";
    /// 3591
    3591 "HY000" duplicate_window(name) = "Window '{name}' is defined twice.";
    /// 3592
    3592 "HY000" window_position(name) = "Window '{name}': ORDER BY or PARTITION BY uses legacy position indication which is not supported, use expression.";
    /// 3593
    3593 "HY000" misplaced_window(name) = "You cannot use the window function '{name}' in this context.'";
    /// 3594
    3594 "HY000" window_alias(name) = "You cannot use the alias '{name}' of an expression containing a window function in this context.'";
    /// 3595
    3595 "HY000" nested_window(name) = "You cannot nest a window function in the specification of window '{name}'.";
    /// 3596
    3596 "HY000" interval_in_rows(name) = "Window '{name}': INTERVAL can only be used with RANGE frames.";
    /// 3602
    3602 "HY000" not_grouped_by(position) = "Argument #{position} of GROUPING function is not in GROUP BY";
    /// 3636
    3636 "HY000" recursion_too_deep(rounds) = "Recursive query aborted after {rounds} iterations. Try increasing @@cte_max_recursion_depth to a larger value.";
    /// 3780
    3780 "HY000" incompatible_columns(a, b) = "Referencing column '{a}' and referenced column '{b}' are incompatible.";
    /// 3942
    3942 "HY000" empty_values_row() = "Each row of a VALUES clause must have at least one column, unless when used as source in an INSERT statement.";
    /// 8175; `how` says who holds how much of what
    8175 "HY000" memory_quota(how) = "Out Of Memory Quota! {how}";
    /// 8176
    8176 "HY000" server_memory(held, limit) = "Your query was cancelled: the server holds {held} of memory, more than memory_limit ({limit}), and this query held the most. Narrow it, or raise the limit.";
}

impl Error {
    /// 1064: `near` is the text from the offending token on.
    pub fn syntax(near: &str, line: usize) -> Error {
        const NEAR_CHARS_MAX: usize = 80;
        let near: String = near.chars().take(NEAR_CHARS_MAX).collect();
        Error::User {
            code: 1064,
            sqlstate: "42000",
            message: format!(
                "You have an error in your SQL syntax; check the manual that corresponds to your Basalt server version for the right syntax to use near '{near}' at line {line}"
            ),
        }
    }

    /// 1690 for a negative number, 1210 for what is no integer: a parameter of LIMIT.
    pub fn not_a_row_number(value: &Value) -> Error {
        match value {
            Value::Int(_) => Error::unsigned_out_of_range("EXECUTE"),
            _ => Error::wrong_arguments("EXECUTE"),
        }
    }

    /// An internal fault with its description.
    pub fn internal(what: impl std::fmt::Display) -> Error {
        Error::Internal(what.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_mysqls() {
        let (code, state, text) = Error::no_such_table("test", "t").to_mysql();
        assert_eq!((code, state, text.as_str()), (1146, "42S02", "Table 'test.t' doesn't exist"));
        assert!(Error::syntax("slect 1", 1).to_string().ends_with("near 'slect 1' at line 1"));
    }
}
