//! Accounts: who may log in, and with which credential.
//!
//! Accounts are records of the catalog (`mU`), held in memory and taken over with each of its versions; a change waits until every
//! server has it. A cluster starts with `root@%` without password; until root has one, servers listen on loopback only.
//!
//! What an account may do stands in its record ([`crate::privilege`]); [`super::grants`] changes it, [`super::access`] asks
//! for it. Passwords are kept as the digests that the login exchanges need (`SHA1(SHA1(password))`,
//! `SHA256(SHA256(password))`), never as themselves.

use crate::catalog::{Catalog, Wanted, keys};
use crate::error::{Error, Result};
use crate::parser::statement::{UserSpec, UserStatement};
use crate::privilege::{Privileges, Rights};
use crate::server::auth::Credential;
use crate::server::kill::KillSwitch;
use crate::server::session_api::Account;
use basalt_client::Transaction;
use basalt_expr::collation::Collation;
use basalt_proto::schema::User;
use parking_lot::RwLock;
use prost::Message;
use std::sync::Arc;

const NATIVE: &str = "mysql_native_password";
const CACHING: &str = "caching_sha2_password";

/// The accounts, as one server knows them.
#[derive(Default)]
pub struct Users {
    accounts: RwLock<Arc<Vec<Known>>>,
}

/// An account's record, and what it holds.
struct Known {
    user: User,
    rights: Arc<Rights>,
}

fn root() -> User {
    User {
        name: "root".into(),
        host: "%".into(),
        plugin: CACHING.into(),
        credential: Default::default(),
        privileges: Privileges::EVERYTHING.0,
        ..User::default()
    }
}

pub(super) fn same(user: &User, name: &str, host: &str) -> bool {
    user.name == name && user.host.eq_ignore_ascii_case(host)
}

impl Users {
    /// Replaces the accounts by those that the catalog holds now.
    pub fn take_over(&self, mut users: Vec<User>) {
        if !users.iter().any(|u| same(u, "root", "%")) {
            users.push(root());
        }
        // The most specific host first, as MySQL looks: names without wildcards before patterns, `%` last.
        users.sort_by_key(|u| (u.host == "%", u.host.contains('%'), u.host.clone()));
        let known = users.into_iter().map(|user| Known { rights: Arc::new(Rights::of(&user)), user });
        *self.accounts.write() = Arc::new(known.collect());
    }

    /// True while root can log in without password.
    pub fn root_is_open(&self) -> bool {
        self.accounts.read().iter().any(|k| k.user.name == "root" && k.user.credential.is_empty())
    }

    /// The account that a client logs in to.
    pub fn find(&self, name: &str, host: &str) -> Option<Account> {
        let users = self.accounts.read().clone();
        let user = users.iter().map(|k| &k.user).find(|u| u.name == name && host_matches(&u.host, host))?;
        Some(Account {
            user: user.name.clone(),
            host: user.host.clone(),
            credential: credential(user)?,
            require_tls: false,
            locked: false,
        })
    }

    /// What an account holds now; nothing once it is gone.
    pub fn rights(&self, account: &Account) -> Arc<Rights> {
        self.rights_of(&account.user, &account.host)
    }

    /// The same by name.
    pub fn rights_of(&self, name: &str, host: &str) -> Arc<Rights> {
        let accounts = self.accounts.read();
        accounts.iter().find(|k| same(&k.user, name, host)).map(|k| k.rights.clone()).unwrap_or_default()
    }

    /// 1141 for an account that does not exist.
    ///
    /// # Errors
    /// That.
    pub fn check_exists(&self, name: &str, host: &str) -> Result<()> {
        match self.accounts.read().iter().any(|k| same(&k.user, name, host)) {
            true => Ok(()),
            false => Err(no_such_grant(name, host)),
        }
    }

    /// Every account: record and rights.
    pub fn list(&self) -> Vec<(User, Arc<Rights>)> {
        self.accounts.read().iter().map(|k| (k.user.clone(), k.rights.clone())).collect()
    }

    /// CREATE, ALTER and DROP USER; at return every SQL server has the new accounts.
    ///
    /// # Errors
    /// 1396 when one of them does not fit; nothing is changed then. 1317 when the wait for the other servers was interrupted.
    pub async fn change(
        &self,
        catalog: &Catalog,
        statement: &UserStatement,
        current: &Account,
        kill: &KillSwitch,
    ) -> Result<()> {
        self.edit(catalog, kill, |users| match statement {
            UserStatement::Create { users: specs, if_not_exists } => create(users, specs, *if_not_exists),
            UserStatement::Alter { users: specs, if_exists } => alter(users, specs, *if_exists, current),
            UserStatement::Drop { users: names, if_exists } => drop_users(users, names, *if_exists),
        })
        .await
    }

    /// Changes the accounts in one transaction, again when another change gets in between, and waits for the other servers.
    ///
    /// # Errors
    /// What `change` refuses; nothing is changed then. 1317 when the wait was interrupted.
    pub(super) async fn edit(
        &self,
        catalog: &Catalog,
        kill: &KillSwitch,
        change: impl Fn(&mut Vec<User>) -> Result<()>,
    ) -> Result<()> {
        let goes_on = || if kill.is_interrupted() { Err(Error::Killed) } else { Ok(()) };
        let changed = catalog.change_settings(|settings, txn| {
            let mut users = settings.users.clone();
            if !users.iter().any(|u| same(u, "root", "%")) {
                users.push(root());
            }
            change(&mut users)?;
            write_difference(txn, &settings.users, &users)
        });
        match changed.await? {
            Some(version) => catalog.wait_for_all(version, &Wanted::default(), &goes_on).await,
            None => Ok(()),
        }
    }
}

/// Writes what has changed; false when nothing has.
fn write_difference(txn: &mut Transaction, before: &[User], after: &[User]) -> Result<bool> {
    for gone in before.iter().filter(|b| !after.iter().any(|a| same(a, &b.name, &b.host))) {
        txn.delete(keys::user(&gone.name, &gone.host))?;
    }
    for user in after.iter().filter(|a| !before.contains(a)) {
        txn.put(keys::user(&user.name, &user.host), user.encode_to_vec())?;
    }
    Ok(before != after)
}

/// 1141.
pub(super) fn no_such_grant(name: &str, host: &str) -> Error {
    let message = format!("There is no such grant defined for user '{name}' on host '{host}'");
    Error::User { code: 1141, sqlstate: "42000", message }
}

pub(super) fn failed(what: &str, name: &str, host: &str) -> Error {
    Error::User { code: 1396, sqlstate: "HY000", message: format!("Operation {what} failed for '{name}'@'{host}'") }
}

fn create(users: &mut Vec<User>, specs: &[UserSpec], if_not_exists: bool) -> Result<()> {
    for spec in specs {
        if spec.name.is_empty() {
            return Err(Error::unsupported("accounts without a name"));
        }
        if spec.host.contains('/') {
            return Err(Error::unsupported("hosts with a netmask"));
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
    if let Some(hash) = &spec.hash {
        if spec.plugin.is_none() {
            return Err(Error::unsupported("IDENTIFIED BY PASSWORD"));
        }
        user.credential = stored_digest(&user.plugin, hash)?.into();
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

/// Before the digest of the sha2 exchange, which is not MySQL's `$A$`: that one is salted.
const SHA2_MARK: &str = "$B$";

/// A digest as SHOW CREATE USER prints it; empty for an account without a password.
pub(super) fn shown_digest(user: &User) -> String {
    match (user.credential.is_empty(), user.plugin.as_str()) {
        (true, _) => String::new(),
        (_, NATIVE) => format!("*{}", hex::encode_upper(&user.credential)),
        _ => format!("{SHA2_MARK}{}", hex::encode_upper(&user.credential)),
    }
}

/// The digest that SHOW CREATE USER printed.
fn stored_digest(plugin: &str, text: &[u8]) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let (mark, bytes) = if plugin == NATIVE { ("*", 20) } else { (SHA2_MARK, 32) };
    let digest = text.strip_prefix(mark.as_bytes()).and_then(|digits| hex::decode(digits).ok());
    digest.filter(|digest| digest.len() == bytes).ok_or_else(|| Error::User {
        code: 1827,
        sqlstate: "HY000",
        message: "The password hash doesn't have the expected format.".into(),
    })
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
        let digest = "*0123456789ABCDEF0123456789ABCDEF01234567";
        let moved =
            UserSpec { plugin: Some(NATIVE.into()), password: None, hash: Some(digest.into()), ..spec("a", "") };
        alter(&mut users, &[moved], false, &me).unwrap();
        assert_eq!(shown_digest(&users[1]), digest);
        assert!(stored_digest(CACHING, b"$A$005$x").is_err() && stored_digest(NATIVE, b"*00").is_err());
        drop_users(&mut users, &[("a".into(), "%".into())], false).unwrap();
        assert_eq!(users.len(), 1);
    }
}
