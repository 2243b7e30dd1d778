//! Accounts: who may log in, and with which credential.
//!
//! Accounts are rows of the catalog (`mU`), held in memory and looked at again every few seconds and after each change. A
//! cluster starts with `root@%` without password; until root has one, servers listen on loopback only.
//!
//! Privileges are all or nothing: `GRANT ALL PRIVILEGES ON *.*` gives everything, every finer grant is refused (1235), and an
//! account without privileges may log in, set variables, select without a table and change its own password. Passwords are
//! kept as the digests that the login exchanges need (`SHA1(SHA1(password))`, `SHA256(SHA256(password))`), never as
//! themselves.

use crate::catalog::{keys, store};
use crate::error::{Error, Result};
use crate::parser::statement::{Grant, UserSpec, UserStatement};
use crate::server::auth::Credential;
use crate::server::session_api::Account;
use basalt_client::{Cluster, Transaction, TxnOptions};
use basalt_expr::collation::Collation;
use basalt_proto::schema::User;
use parking_lot::RwLock;
use prost::Message;
use std::sync::Arc;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";
/// How often a change is tried when another gets in between.
const CHANGE_TRIES: u32 = 10;

/// The accounts, as one server knows them.
#[derive(Default)]
pub struct Users {
    accounts: RwLock<Arc<Vec<User>>>,
}

fn root() -> User {
    User {
        name: "root".into(),
        host: "%".into(),
        plugin: CACHING.into(),
        credential: Default::default(),
        all_privileges: true,
    }
}

fn same(user: &User, name: &str, host: &str) -> bool {
    user.name == name && user.host.eq_ignore_ascii_case(host)
}

impl Users {
    /// Reads the accounts.
    ///
    /// # Errors
    /// What the cluster answers; the accounts known so far stay.
    pub async fn load(&self, cluster: &Cluster) -> Result<()> {
        let mut users = store::read_users(&cluster.snapshot(cluster.timestamp().await?)).await?;
        if !users.iter().any(|u| same(u, "root", "%")) {
            users.push(root());
        }
        // The most specific host first, as MySQL looks: names without wildcards before patterns, `%` last.
        users.sort_by_key(|u| (u.host == "%", u.host.contains('%'), u.host.clone()));
        *self.accounts.write() = Arc::new(users);
        Ok(())
    }

    /// True while root can log in without password.
    pub fn root_is_open(&self) -> bool {
        self.accounts.read().iter().any(|u| u.name == "root" && u.credential.is_empty())
    }

    /// The account that a client logs in to.
    pub fn find(&self, name: &str, host: &str) -> Option<Account> {
        let users = self.accounts.read().clone();
        let user = users.iter().find(|u| u.name == name && host_matches(&u.host, host))?;
        Some(Account {
            user: user.name.clone(),
            host: user.host.clone(),
            credential: credential(user)?,
            require_tls: false,
            locked: false,
        })
    }

    /// True when the account may do everything.
    pub fn has_all_privileges(&self, account: &Account) -> bool {
        self.accounts.read().iter().any(|u| same(u, &account.user, &account.host) && u.all_privileges)
    }

    /// Name, host, plugin, all privileges.
    pub fn list(&self) -> Vec<(String, String, String, bool)> {
        self.accounts
            .read()
            .iter()
            .map(|u| (u.name.clone(), u.host.clone(), u.plugin.clone(), u.all_privileges))
            .collect()
    }

    /// CREATE, ALTER and DROP USER.
    ///
    /// # Errors
    /// 1396 when one of them does not fit; nothing is changed then.
    pub async fn change(&self, cluster: &Cluster, statement: &UserStatement, current: &Account) -> Result<()> {
        self.edit(cluster, |users| match statement {
            UserStatement::Create { users: specs, if_not_exists } => create(users, specs, *if_not_exists),
            UserStatement::Alter { users: specs, if_exists } => alter(users, specs, *if_exists, current),
            UserStatement::Drop { users: names, if_exists } => drop_users(users, names, *if_exists),
        })
        .await
    }

    /// GRANT and REVOKE of all privileges on everything.
    ///
    /// # Errors
    /// 1235 for anything finer, 1410 for an account that does not exist.
    pub async fn grant(&self, cluster: &Cluster, grant: &Grant) -> Result<()> {
        let all = matches!(grant.privileges.as_slice(), [p] if p == "ALL" || p == "ALL PRIVILEGES");
        let nothing = matches!(grant.privileges.as_slice(), [p] if p == "USAGE") && !grant.revoke;
        if !(all || nothing) || grant.database.is_some() || grant.table.is_some() {
            return Err(Error::unsupported("privileges other than ALL PRIVILEGES ON *.*"));
        }
        self.edit(cluster, |users| {
            for spec in &grant.users {
                let user = users.iter_mut().find(|u| same(u, &spec.name, &spec.host)).ok_or_else(|| Error::User {
                    code: 1410,
                    sqlstate: "42000",
                    message: "You are not allowed to create a user with GRANT".into(),
                })?;
                if grant.revoke && same(user, "root", "%") {
                    return Err(Error::unsupported("taking root's privileges"));
                }
                if all {
                    user.all_privileges = !grant.revoke;
                }
            }
            Ok(())
        })
        .await
    }

    async fn edit(&self, cluster: &Cluster, change: impl Fn(&mut Vec<User>) -> Result<()>) -> Result<()> {
        let mut tries = 0;
        loop {
            let mut txn = cluster.begin(TxnOptions::default()).await?;
            let before = store::read_users(txn.snapshot()).await?;
            let mut users = before.clone();
            if !users.iter().any(|u| same(u, "root", "%")) {
                users.push(root());
            }
            change(&mut users)?;
            write_difference(&mut txn, &before, &users)?;
            match txn.commit().await.map_err(Error::from) {
                Ok(_) => return self.load(cluster).await,
                Err(error) if error.is_write_conflict() && tries < CHANGE_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn write_difference(txn: &mut Transaction, before: &[User], after: &[User]) -> Result<()> {
    for gone in before.iter().filter(|b| !after.iter().any(|a| same(a, &b.name, &b.host))) {
        txn.delete(keys::user(&gone.name, &gone.host))?;
    }
    for user in after.iter().filter(|a| !before.contains(a)) {
        txn.put(keys::user(&user.name, &user.host), user.encode_to_vec())?;
    }
    Ok(())
}

fn failed(what: &str, name: &str, host: &str) -> Error {
    Error::User { code: 1396, sqlstate: "HY000", message: format!("Operation {what} failed for '{name}'@'{host}'") }
}

fn create(users: &mut Vec<User>, specs: &[UserSpec], if_not_exists: bool) -> Result<()> {
    for spec in specs {
        if spec.name.is_empty() {
            return Err(Error::unsupported("accounts without a name"));
        }
        if users.iter().any(|u| same(u, &spec.name, &spec.host)) {
            if if_not_exists {
                continue;
            }
            return Err(failed("CREATE USER", &spec.name, &spec.host));
        }
        let mut user =
            User { name: spec.name.clone(), host: spec.host.clone(), plugin: CACHING.into(), ..User::default() };
        set_credential(&mut user, spec)?;
        users.push(user);
    }
    Ok(())
}

fn alter(users: &mut [User], specs: &[UserSpec], if_exists: bool, current: &Account) -> Result<()> {
    for spec in specs {
        let own = spec.is_current_user();
        let (name, host) = if own { (&current.user, &current.host) } else { (&spec.name, &spec.host) };
        match users.iter_mut().find(|u| same(u, name, host)) {
            Some(user) => set_credential(user, spec)?,
            None if if_exists => {}
            None => return Err(failed("ALTER USER", name, host)),
        }
    }
    Ok(())
}

fn drop_users(users: &mut Vec<User>, names: &[(String, String)], if_exists: bool) -> Result<()> {
    for (name, host) in names {
        if name == "root" && host == "%" {
            return Err(Error::unsupported("dropping root"));
        }
        let before = users.len();
        users.retain(|u| !same(u, name, host));
        if users.len() == before && !if_exists {
            return Err(failed("DROP USER", name, host));
        }
    }
    Ok(())
}

fn set_credential(user: &mut User, spec: &UserSpec) -> Result<()> {
    if let Some(plugin) = &spec.plugin {
        if plugin != NATIVE && plugin != CACHING {
            return Err(Error::User {
                code: 1524,
                sqlstate: "HY000",
                message: format!("Plugin '{plugin}' is not loaded"),
            });
        }
        user.plugin = plugin.clone();
        // As in MySQL: a plugin without a password is an account without one. A digest of another plugin's would lock it out.
        user.credential = Default::default();
    }
    if spec.hash.is_some() {
        return Err(Error::unsupported("IDENTIFIED … AS"));
    }
    if let Some(password) = &spec.password {
        let password = password.as_bytes();
        let digest =
            match (password.is_empty(), Credential::native_password(password), Credential::caching_sha2(password)) {
                (true, ..) => Vec::new(),
                (_, Credential::NativePassword(digest), _) if user.plugin == NATIVE => digest.to_vec(),
                (_, _, Credential::CachingSha2(digest)) => digest.to_vec(),
                _ => return Err(Error::internal("a credential of another kind")),
            };
        user.credential = digest.into();
    }
    Ok(())
}

fn credential(user: &User) -> Option<Credential> {
    if user.credential.is_empty() {
        return Some(Credential::Empty);
    }
    match user.plugin.as_str() {
        NATIVE => user.credential[..].try_into().ok().map(Credential::NativePassword),
        _ => user.credential[..].try_into().ok().map(Credential::CachingSha2),
    }
}

/// MySQL's host patterns: `%` any run of characters, `_` any one; `localhost` is loopback.
fn host_matches(pattern: &str, host: &str) -> bool {
    if pattern == "%" || pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    if pattern.eq_ignore_ascii_case("localhost") {
        return host == "127.0.0.1" || host == "::1";
    }
    like(host, pattern)
}

/// LIKE as it matches names.
pub(super) fn like(text: &str, pattern: &str) -> bool {
    basalt_expr::func::like_matches(text.as_bytes(), pattern.as_bytes(), b"\\", Collation::Utf8mb4GeneralCi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_whole_or_nothing() {
        let spec = |name: &str, password: &str| UserSpec {
            name: name.into(),
            host: "%".into(),
            plugin: None,
            password: Some(password.into()),
            hash: None,
        };
        let mut users = vec![root()];
        create(&mut users, &[spec("a", "secret")], false).unwrap();
        assert!(create(&mut users, &[spec("a", "")], false).is_err());
        assert_eq!(users[1].credential.len(), 32);
        let me = Account {
            user: "root".into(),
            host: "%".into(),
            credential: Credential::Empty,
            require_tls: false,
            locked: false,
        };
        // An account without a name is not the caller's.
        assert!(alter(&mut users, &[spec("", "x")], false, &me).is_err() && users[0].credential.is_empty());
        assert!(create(&mut users, &[spec("", "x")], false).is_err());
        alter(&mut users, &[UserSpec { host: String::new(), ..spec("", "x") }], false, &me).unwrap();
        let native = UserSpec { plugin: Some(NATIVE.into()), password: None, ..spec("a", "") };
        alter(&mut users, &[native], false, &me).unwrap();
        assert!(credential(&users[1]) == Some(Credential::Empty));
        assert!(
            !users[0].credential.is_empty() && drop_users(&mut users, &[("root".into(), "%".into())], true).is_err()
        );
        drop_users(&mut users, &[("a".into(), "%".into())], false).unwrap();
        assert_eq!(users.len(), 1);
    }
}
