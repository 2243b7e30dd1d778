//! From a fresh socket to an authenticated user.
//!
//! ```text
//! server                                              client
//!   ├── greeting: version, id, nonce, capabilities ────>│
//!   │<── SSL request (first 32 bytes of a response) ────┤   when both have TLS: the TLS handshake, then again:
//!   │<── response: user, proof, schema, plugin, attrs ──┤
//!   ├── switch: plugin, new nonce ─────────────────────>│   when the account needs another plugin than the client used
//!   │<── proof ─────────────────────────────────────────┤
//!   ├── 01 04: send the password itself ───────────────>│   caching_sha2_password without a digest, over TLS only
//!   │<── password NUL ──────────────────────────────────┤
//!   └── 01 03 (caching_sha2_password) · OK, or error ──>│
//! ```
//!
//! COM_CHANGE_USER enters at the response and is always switched to a new nonce.
//!
//! Invariants: no error says whether the user or the password was wrong; an account without a password is entered only by
//! a client that sends none, and one with a password never by such a client; the client cannot choose a weaker plugin
//! than its account's; a password in plain text is neither asked for nor read outside TLS.

use super::auth::{
    Credential, LearnedDigests, NATIVE_PASSWORD, NONCE_BYTES, Nonce, SaltedSha256, verify_caching_sha2, verify_native,
};
use super::config::ATTRIBUTES_BYTES_MAX;
use super::constant::{COLLATION_DEFAULT, Capabilities, Status};
use super::error::{MySqlError, code};
use super::packet::{PacketError, PacketReader};
use super::payload::{Malformed, Payload};
use super::result::ResultWriter;
use super::session_api::{Account, Authenticator, Peer};
use bytes::BytesMut;
use rand::TryRngCore;
use std::borrow::Cow;

/// How a connection ends before it serves commands.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    /// The client is told why, then disconnected.
    #[error(transparent)]
    Refused(#[from] MySqlError),
    /// There is nobody to tell, or nothing that could be understood.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

/// The initial packet of the server.
pub(super) struct Greeting<'a> {
    pub server_version: &'a str,
    pub connection_id: u64,
    pub nonce: &'a Nonce,
    pub capabilities: Capabilities,
}

impl Greeting<'_> {
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [low_0, low_1, high_0, high_1] = self.capabilities.0.to_le_bytes();
        let (first, second) = self.nonce.0.split_at(8);
        out.push(10);
        out.extend_from_slice(self.server_version.as_bytes());
        out.push(0);
        out.extend_from_slice(&(self.connection_id as u32).to_le_bytes());
        out.extend_from_slice(first);
        out.push(0);
        out.extend_from_slice(&[low_0, low_1, COLLATION_DEFAULT as u8]);
        out.extend_from_slice(&Status::AUTOCOMMIT.0.to_le_bytes());
        out.extend_from_slice(&[high_0, high_1, NONCE_BYTES as u8 + 1]);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(second);
        out.push(0);
        // A hint only: the account decides, and the client is asked to switch. The method that every client has built in
        // lets accounts without password in at once.
        out.extend_from_slice(NATIVE_PASSWORD.as_bytes());
        out.push(0);
    }
}

/// What a client says of itself, in its handshake response or in COM_CHANGE_USER.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Login {
    pub capabilities: Capabilities,
    pub collation: u16,
    pub user: String,
    pub proof: Vec<u8>,
    pub schema: Option<String>,
    /// Empty when the client did not name one.
    pub plugin: String,
    pub attributes: Vec<(String, String)>,
}

/// The first packet of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Response {
    /// It wants TLS before it says more.
    Tls,
    Login(Login),
}

impl Response {
    /// Reads the client's first packet. `offered` is what the greeting said.
    ///
    /// # Errors
    /// 1043 for what is not a response of protocol 4.1.
    pub fn parse(packet: &[u8], offered: Capabilities) -> Result<Response, MySqlError> {
        let bad = |_: Malformed| MySqlError::new(code::ER_HANDSHAKE_ERROR, "Bad handshake");
        let mut payload = Payload::new(packet);
        let sent = Capabilities(payload.u32().map_err(bad)?);
        let capabilities = sent.common(offered);
        if !capabilities.has(Capabilities::PROTOCOL_41) {
            return Err(bad(Malformed));
        }
        payload.u32().map_err(bad)?; // the client's own max_allowed_packet
        let collation = u16::from(payload.u8().map_err(bad)?);
        payload.bytes(23).map_err(bad)?;
        if payload.is_empty() {
            return if capabilities.has(Capabilities::SSL) { Ok(Response::Tls) } else { Err(bad(Malformed)) };
        }
        let user = text(payload.nul_bytes());
        let proof = if capabilities.has(Capabilities::PLUGIN_AUTH_LENENC) {
            payload.lenenc_bytes().map_err(bad)?
        } else if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let length = payload.u8().map_err(bad)?;
            payload.bytes(usize::from(length)).map_err(bad)?
        } else {
            payload.nul_bytes()
        };
        let has_schema = capabilities.has(Capabilities::CONNECT_WITH_DB);
        let schema = if has_schema { schema_name(payload.nul_bytes())? } else { None };
        let (plugin, attributes) = plugin_and_attributes(&mut payload, capabilities);
        Ok(Response::Login(Login { capabilities, collation, user, proof: proof.to_vec(), schema, plugin, attributes }))
    }
}

impl Login {
    /// Reads the body of COM_CHANGE_USER.
    ///
    /// # Errors
    /// 1047, as MySQL answers a body that it cannot read.
    pub fn parse_change_user(body: &[u8], capabilities: Capabilities) -> Result<Login, MySqlError> {
        let bad = |_: Malformed| MySqlError::new(code::ER_UNKNOWN_COM_ERROR, "Unknown command");
        let mut payload = Payload::new(body);
        let user = text(payload.nul_bytes());
        let length = payload.u8().map_err(bad)?;
        let proof = payload.bytes(usize::from(length)).map_err(bad)?.to_vec();
        let schema = schema_name(payload.nul_bytes())?;
        // Everything from here on may be missing.
        let collation = payload.u16().unwrap_or(COLLATION_DEFAULT);
        let (plugin, attributes) = plugin_and_attributes(&mut payload, capabilities);
        Ok(Login { capabilities, collation, user, proof, schema, plugin, attributes })
    }
}

fn plugin_and_attributes(payload: &mut Payload<'_>, capabilities: Capabilities) -> (String, Vec<(String, String)>) {
    let has_plugin = capabilities.has(Capabilities::PLUGIN_AUTH);
    let plugin = if has_plugin { text(payload.nul_bytes()) } else { String::new() };
    let mut attributes = Vec::new();
    // Attributes are for show: what cannot be read is left out, and nobody is refused for them.
    if capabilities.has(Capabilities::CONNECT_ATTRS)
        && let Ok(block) = payload.lenenc_bytes()
    {
        let mut block = Payload::new(block);
        let mut kept = 0;
        while let (Ok(key), Ok(value)) = (block.lenenc_bytes(), block.lenenc_bytes()) {
            kept += key.len() + value.len();
            if kept > ATTRIBUTES_BYTES_MAX {
                break;
            }
            attributes.push((text(key), text(value)));
        }
    }
    (plugin, attributes)
}

/// Names that are not UTF-8 become names that no account has.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn schema_name(bytes: &[u8]) -> Result<Option<String>, MySqlError> {
    match bytes {
        [] => Ok(None),
        _ => utf8(bytes).map(|name| Some(name.to_owned())),
    }
}

/// The bytes as text.
///
/// # Errors
/// 1300 when they are not UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, MySqlError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let wrong = bytes.get(error.valid_up_to()..).unwrap_or_default();
        let shown: String = wrong.iter().take(6).map(|byte| format!("\\x{byte:02X}")).collect();
        MySqlError::new(code::ER_INVALID_CHARACTER_STRING, format!("Invalid utf8mb4 character string: '{shown}'"))
    })
}

/// An unpredictable nonce. It comes from the operating system and not from [`Env`](basalt_common::env::Env): whoever can
/// predict it can replay a proof that was overheard.
pub(super) fn new_nonce() -> Result<Nonce, MySqlError> {
    let mut bytes = [0; NONCE_BYTES];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| MySqlError::internal(format!("no random numbers: {error}")))?;
    Ok(Nonce::from_random(bytes))
}

/// Checks who a client is, over the open connection.
pub(super) struct Exchange<'a> {
    pub reader: &'a mut PacketReader,
    pub out: &'a mut ResultWriter,
    pub authenticator: &'a dyn Authenticator,
    pub learned: &'a LearnedDigests,
    pub peer: Peer,
    pub require_tls: bool,
}

/// The nonce a proof answers.
pub(super) enum Challenge<'a> {
    /// The client has proved itself against this one.
    Answered(&'a Nonce),
    /// Its proof, if it sent one, does not count: it is asked again.
    Fresh,
}

impl Exchange<'_> {
    /// Runs the exchange up to, but not with, the final OK.
    ///
    /// # Errors
    /// 1045 when the user or the password is wrong, 1251 when the client cannot do what the account needs, 3159 when it
    /// needs TLS, 3118 when the account is locked.
    pub async fn run(&mut self, login: &Login, challenge: Challenge<'_>) -> Result<Account, LoginError> {
        if self.require_tls && self.peer.tls.is_none() {
            return Err(secure_transport_required().into());
        }
        let found = self.authenticator.find(&login.user, &self.peer).await?;
        let exists = found.is_some();
        let account = match found {
            Some(account) => account,
            None => nobody()?,
        };
        let (proved, proof_given) = self.prove(login, &account, challenge).await?;
        if !(proved && exists) {
            return Err(self.denied(login, proof_given).into());
        }
        if account.locked {
            let text = format!("Access denied for user '{}'@'{}'. Account is locked.", login.user, self.peer.host());
            return Err(MySqlError::new(code::ER_ACCOUNT_HAS_BEEN_LOCKED, text).into());
        }
        if account.require_tls && self.peer.tls.is_none() {
            return Err(self.denied(login, proof_given).into());
        }
        Ok(account)
    }

    /// Whether the client proved its password, and whether it sent anything to prove it with.
    async fn prove(
        &mut self,
        login: &Login,
        account: &Account,
        challenge: Challenge<'_>,
    ) -> Result<(bool, bool), LoginError> {
        if account.credential == Credential::Empty && is_no_password(&login.proof) {
            return Ok((true, false));
        }
        let needed = account.credential.plugin();
        let used = if login.plugin.is_empty() { NATIVE_PASSWORD } else { &login.plugin };
        let (nonce, proof) = match challenge {
            Challenge::Answered(nonce) if used == needed => (*nonce, Cow::Borrowed(login.proof.as_slice())),
            _ => {
                let nonce = new_nonce()?;
                (nonce, Cow::Owned(self.switch(login, needed, &nonce).await?.to_vec()))
            }
        };
        let proof_given = !is_no_password(&proof);
        let proved = match &account.credential {
            Credential::Empty => !proof_given,
            Credential::NativePassword(stored) => verify_native(stored, &nonce, &proof),
            Credential::CachingSha2(stored) => self.prove_digest(stored, &nonce, &proof),
            Credential::SaltedSha256(stored) => match self.learned.get(stored) {
                Some(digest) if verify_caching_sha2(&digest, &nonce, &proof) => {
                    self.out.raw(&[1, 3]);
                    true
                }
                _ if !proof_given => false,
                _ => self.prove_password(stored).await?,
            },
        };
        Ok((proved, proof_given))
    }

    fn prove_digest(&mut self, stored: &[u8; 32], nonce: &Nonce, proof: &[u8]) -> bool {
        let proved = verify_caching_sha2(stored, nonce, proof);
        if proved {
            self.out.raw(&[1, 3]);
        }
        proved
    }

    /// Asks for a proof of the method the account needs.
    async fn switch(&mut self, login: &Login, plugin: &str, nonce: &Nonce) -> Result<BytesMut, LoginError> {
        if !login.capabilities.has(Capabilities::PLUGIN_AUTH) {
            let text = "Client does not support authentication protocol requested by server; consider upgrading \
                        MySQL client";
            return Err(MySqlError::new(code::ER_NOT_SUPPORTED_AUTH_MODE, text).into());
        }
        let request = [b"\xfe", plugin.as_bytes(), b"\0", &nonce.0, b"\0"].concat();
        self.out.raw(&request);
        self.ask().await
    }

    /// Asks for the password itself and checks it against a slow hash.
    async fn prove_password(&mut self, stored: &SaltedSha256) -> Result<bool, LoginError> {
        if self.peer.tls.is_none() {
            let text = "Authentication requires secure connection: the first login of this account with \
                        caching_sha2_password sends its password, which is only accepted over TLS";
            return Err(MySqlError::new(code::ER_SECURE_TRANSPORT_REQUIRED, text).into());
        }
        self.out.raw(&[1, 4]);
        let answer = self.ask().await?;
        let password = Payload::new(&answer).nul_bytes().to_vec();
        let stored = stored.clone();
        // Thousands of hash rounds would hold up the other connections of this thread.
        let checked = tokio::task::spawn_blocking(move || (stored.matches(&password), stored, password)).await;
        let (proved, stored, password) =
            checked.map_err(|error| MySqlError::internal(format!("checking a password failed: {error}")))?;
        if proved {
            self.learned.learn(&stored, &password);
        }
        Ok(proved)
    }

    async fn ask(&mut self) -> Result<BytesMut, LoginError> {
        let packets = self.out.packets();
        packets.flush().await.map_err(PacketError::Io)?;
        self.reader.next_sequence = packets.next_sequence;
        let answer = self.reader.read_packet().await?;
        self.out.packets().next_sequence = self.reader.next_sequence;
        Ok(answer)
    }

    fn denied(&self, login: &Login, proof_given: bool) -> MySqlError {
        let using = if proof_given { "YES" } else { "NO" };
        let host = self.peer.host();
        let user: String = login.user.chars().take(80).collect();
        let text = format!("Access denied for user '{user}'@'{host}' (using password: {using})");
        MySqlError::new(code::ER_ACCESS_DENIED_ERROR, text)
    }
}

/// Both methods send nothing for an empty password, but for a NUL where caching_sha2_password answers a switch.
fn is_no_password(proof: &[u8]) -> bool {
    matches!(proof, [] | [0])
}

fn secure_transport_required() -> MySqlError {
    let text = "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
    MySqlError::new(code::ER_SECURE_TRANSPORT_REQUIRED, text)
}

/// The account that a user who has none is checked against.
fn nobody() -> Result<Account, MySqlError> {
    let (low, high) = (new_nonce()?, new_nonce()?);
    let mut digest = [0; 32];
    for (byte, random) in digest.iter_mut().zip(low.0.into_iter().chain(high.0)) {
        *byte = random;
    }
    Ok(Account {
        user: String::new(),
        host: String::new(),
        credential: Credential::CachingSha2(digest),
        require_tls: false,
        locked: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::payload::put_lenenc_bytes;
    use proptest::prelude::*;

    fn response(capabilities: Capabilities, after_fixed: &[u8]) -> Vec<u8> {
        let mut bytes = capabilities.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 1, 45]);
        bytes.extend_from_slice(&[0; 23]);
        bytes.extend_from_slice(after_fixed);
        bytes
    }

    fn full() -> Vec<u8> {
        let mut attributes = Vec::new();
        put_lenenc_bytes(&mut attributes, b"_client_name");
        put_lenenc_bytes(&mut attributes, b"x");
        let mut body = b"root\0\x03abcdb\0plug\0".to_vec();
        put_lenenc_bytes(&mut body, &attributes);
        response(Capabilities::OFFERED, &body)
    }

    fn login(packet: &[u8]) -> Login {
        match Response::parse(packet, Capabilities::OFFERED).unwrap() {
            Response::Login(login) => login,
            Response::Tls => panic!("not a TLS request"),
        }
    }

    #[test]
    fn greeting_bytes() {
        let mut out = Vec::new();
        let nonce = Nonce(*b"abcdefghijklmnopqrst");
        let capabilities = Capabilities::OFFERED;
        Greeting { server_version: "8.0", connection_id: 7, nonce: &nonce, capabilities }.encode(&mut out);
        let expected = b"\x0a8.0\0\x07\0\0\0abcdefgh\0\x0f\xa6\xff\x02\0\xbf\x01\x15\0\0\0\0\0\0\0\0\0\0ijklmnopqrst\0mysql_native_password\0";
        assert_eq!(out, expected, "{}", out.escape_ascii());
    }

    #[test]
    fn a_full_response() {
        let login = login(&full());
        assert_eq!((login.user.as_str(), &login.proof[..]), ("root", &b"abc"[..]));
        assert_eq!((login.schema.as_deref(), login.plugin.as_str(), login.collation), (Some("db"), "plug", 45));
        assert_eq!(login.attributes, [("_client_name".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn capabilities_that_were_not_offered_are_dropped() {
        let mut packet = full();
        packet[3] = 0xff;
        assert_eq!(login(&packet).capabilities, Capabilities::OFFERED);
    }

    #[test]
    fn responses_cut_anywhere_are_an_error_or_lenient() {
        let packet = full();
        for length in 0..packet.len() {
            match Response::parse(&packet[..length], Capabilities::OFFERED) {
                Ok(Response::Login(login)) => assert!(length > 36, "{login:?}"),
                Ok(Response::Tls) => panic!("TLS was not offered"),
                Err(error) => assert_eq!(error.code, code::ER_HANDSHAKE_ERROR),
            }
        }
    }

    #[test]
    fn a_tls_request_needs_an_offer() {
        let capabilities = Capabilities::OFFERED.with(Capabilities::SSL);
        let packet = response(capabilities, b"");
        assert_eq!(Response::parse(&packet, capabilities), Ok(Response::Tls));
        assert!(Response::parse(&packet, Capabilities::OFFERED).is_err());
    }

    #[test]
    fn wrong_attributes_are_left_out() {
        let packet = response(Capabilities::OFFERED, b"u\0\0\0\0\x05\x02ab\x09x");
        assert_eq!(login(&packet).attributes, []);
    }

    #[test]
    fn change_user_body() {
        let login = Login::parse_change_user(b"u\0\x02pwdb\0\x2d\0native\0", Capabilities::OFFERED).unwrap();
        assert_eq!((login.user.as_str(), &login.proof[..], login.schema.as_deref()), ("u", &b"pw"[..], Some("db")));
        assert_eq!((login.collation, login.plugin.as_str()), (45, "native"));
        assert!(Login::parse_change_user(b"u\0\x05pw", Capabilities::OFFERED).is_err());
        assert!(Login::parse_change_user(b"u\0\x00", Capabilities::OFFERED).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Response::parse(&bytes, Capabilities::OFFERED);
            let _ = Login::parse_change_user(&bytes, Capabilities::OFFERED);
        }

        #[test]
        fn any_body(bytes in proptest::collection::vec(any::<u8>(), 1..120)) {
            let _ = Response::parse(&response(Capabilities::OFFERED, &bytes), Capabilities::OFFERED);
        }
    }
}
