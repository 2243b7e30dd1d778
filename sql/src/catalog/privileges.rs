//! Rows of the made-up tables that tell who may do what.

use super::information_schema::{AccountInfo, GrantInfo, Row, SessionInfo};
use basalt_expr::value::Value;

fn s(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

fn yes(is: bool) -> Value {
    s(if is { "Y" } else { "N" })
}

fn grantee(account: &AccountInfo) -> Value {
    s(format!("'{}'@'{}'", account.user, account.host))
}

fn grantable(grant: &GrantInfo) -> Value {
    s(if grant.grantable { "YES" } else { "NO" })
}

/// `mysql.user`.
pub(super) fn users(info: &dyn SessionInfo) -> Vec<Row> {
    let row = |account: AccountInfo| {
        let global = account.grants.first().cloned().unwrap_or_default();
        let has = |name: &str| yes(global.privileges.contains(&name));
        let mut row = vec![s(&account.host), s(&account.user)];
        row.extend(["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"].map(has));
        row.extend([yes(global.grantable), has("SUPER"), s(&account.plugin), s(&account.digest), s("N")]);
        row
    };
    info.accounts().into_iter().map(row).collect()
}

/// `mysql.db`.
pub(super) fn databases(info: &dyn SessionInfo) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in info.accounts() {
        let on = account.grants.iter().filter(|g| !g.database.is_empty() && g.table.is_empty());
        rows.extend(on.map(|g| vec![s(&account.host), s(&g.database), s(&account.user)]));
    }
    rows
}

/// USER_PRIVILEGES: USAGE stands for nothing.
pub(super) fn user_privileges(info: &dyn SessionInfo) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in info.accounts() {
        let Some(global) = account.grants.first() else { continue };
        let nothing = if global.privileges.is_empty() { &["USAGE"][..] } else { &[] };
        for name in global.privileges.iter().chain(nothing) {
            rows.push(vec![grantee(&account), s("def"), s(*name), grantable(global)]);
        }
    }
    rows
}

/// SCHEMA_PRIVILEGES.
pub(super) fn schema_privileges(info: &dyn SessionInfo) -> Vec<Row> {
    finer(info, false, |g| vec![s(&g.database)])
}

/// TABLE_PRIVILEGES.
pub(super) fn table_privileges(info: &dyn SessionInfo) -> Vec<Row> {
    finer(info, true, |g| vec![s(&g.database), s(&g.table)])
}

fn finer(info: &dyn SessionInfo, tables: bool, place: impl Fn(&GrantInfo) -> Vec<Value>) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in info.accounts() {
        let grants = account.grants.iter().filter(|g| !g.database.is_empty() && g.table.is_empty() != tables);
        for grant in grants {
            for name in &grant.privileges {
                let head = [grantee(&account), s("def")].into_iter().chain(place(grant));
                rows.push(head.chain([s(*name), grantable(grant)]).collect());
            }
        }
    }
    rows
}

/// The statement that makes the account again, password and all.
fn create_user(account: &AccountInfo) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let digest = if account.digest.is_empty() { String::new() } else { format!(" AS '{}'", account.digest) };
    format!(
        "CREATE USER {}@{} IDENTIFIED WITH '{}'{digest} REQUIRE NONE PASSWORD EXPIRE DEFAULT ACCOUNT UNLOCK \
         PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT",
        quoted(&account.user),
        quoted(&account.host),
        account.plugin
    )
}

/// BASALT_GRANTS, which SHOW GRANTS and SHOW CREATE USER read. ON *.* is always told, USAGE if there is nothing.
pub(super) fn grants(info: &dyn SessionInfo) -> Vec<Row> {
    let mut rows = Vec::new();
    for account in info.accounts() {
        let made = create_user(&account);
        let (user, host) = (&account.user, &account.host);
        let lines = account.grants.iter().enumerate();
        rows.extend(lines.map(|(at, g)| vec![s(user), s(host), Value::UInt(at as u64), s(&g.text), s(&made)]));
    }
    rows
}
