//! Checking passwords: what is stored, what a client proves, and the two methods.
//!
//! ```text
//! mysql_native_password    stored  SHA1(SHA1(password))
//!                          sent    SHA1(password) xor SHA1(nonce · stored)
//! caching_sha2_password    stored  SHA256(SHA256(password)), or a slow salted hash of the password ($A$005$…)
//!                          sent    SHA256(password) xor SHA256(SHA256(SHA256(password)) · nonce)
//! ```
//!
//! Both let the server compute what the client must have known and hash it once more to what is stored. A slow hash
//! cannot be compared with that: the first login sends the password itself, over TLS only, and its SHA256(SHA256()) is
//! kept in memory for the next logins ([`LearnedDigests`], the "caching" in the name). The memory is keyed by the stored
//! hash, so a changed password is not let in by an old digest.
//!
//! Comparisons take the same time wherever the difference is. A user who does not exist is checked against a random
//! digest, so that neither the answer nor the work tells.

use super::config::LEARNED_DIGESTS_MAX;
use lru::LruCache;
use parking_lot::Mutex;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::num::NonZeroUsize;
use subtle::ConstantTimeEq;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 20;
/// The name of the method of MySQL 4.1 to 5.7.
pub const NATIVE_PASSWORD: &str = "mysql_native_password";
/// The name of the method of MySQL 8.
pub const CACHING_SHA2_PASSWORD: &str = "caching_sha2_password";

/// What the server sends for the client to mix into its proof: printable, without NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; NONCE_BYTES]);

impl Nonce {
    /// Turns random bytes into a nonce.
    pub fn from_random(mut bytes: [u8; NONCE_BYTES]) -> Nonce {
        for byte in &mut bytes {
            // 0x21..=0x7e without '$', which separates the parts of stored hashes.
            *byte = 0x25 + *byte % (0x7f - 0x25);
        }
        Nonce(bytes)
    }
}

/// What is stored of an account's password.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum Credential {
    /// No password.
    Empty,
    /// SHA1(SHA1(password)).
    NativePassword([u8; 20]),
    /// SHA256(SHA256(password)).
    CachingSha2([u8; 32]),
    /// MySQL's own stored form of caching_sha2_password.
    SaltedSha256(SaltedSha256),
}

impl Credential {
    /// The credential of a password for `mysql_native_password`.
    pub fn native_password(password: &[u8]) -> Credential {
        match password {
            [] => Credential::Empty,
            _ => Credential::NativePassword(Sha1::digest(Sha1::digest(password)).into()),
        }
    }

    /// The credential of a password for `caching_sha2_password`.
    pub fn caching_sha2(password: &[u8]) -> Credential {
        match password {
            [] => Credential::Empty,
            _ => Credential::CachingSha2(double_sha256(password)),
        }
    }

    /// The method that proves it.
    pub fn plugin(&self) -> &'static str {
        match self {
            Credential::NativePassword(_) => NATIVE_PASSWORD,
            Credential::Empty | Credential::CachingSha2(_) | Credential::SaltedSha256(_) => CACHING_SHA2_PASSWORD,
        }
    }
}

/// `$A$005$` · 20 bytes of salt · 43 characters: SHA-256 crypt (Drepper) with a salt of any bytes.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct SaltedSha256 {
    rounds: u32,
    salt: Vec<u8>,
    digest: [u8; 32],
}

/// Thousands of rounds that a stored hash may ask for, so that no login takes seconds.
const ROUND_THOUSANDS_MAX: u32 = 0xfff;

impl SaltedSha256 {
    /// Reads the stored form; none when it is not one.
    pub fn parse(stored: &[u8]) -> Option<SaltedSha256> {
        let rest = stored.strip_prefix(b"$A$")?;
        let (rounds, rest) = rest.split_at_checked(3)?;
        let rounds = u32::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?;
        let (salt, digest) = rest.strip_prefix(b"$")?.split_at_checked(NONCE_BYTES)?;
        if rounds == 0 || rounds > ROUND_THOUSANDS_MAX {
            return None;
        }
        Some(SaltedSha256 { rounds: rounds * 1000, salt: salt.to_vec(), digest: decode_crypt64(digest)? })
    }

    /// The stored hash of a password; none when there are no rounds, or too many.
    pub fn from_password(password: &[u8], salt: [u8; NONCE_BYTES], round_thousands: u32) -> Option<SaltedSha256> {
        let rounds = (1..=ROUND_THOUSANDS_MAX).contains(&round_thousands).then_some(round_thousands * 1000)?;
        Some(SaltedSha256 { rounds, salt: salt.to_vec(), digest: sha256_crypt(password, &salt, rounds) })
    }

    /// True when `password` is the one. Takes milliseconds, by intent.
    pub fn matches(&self, password: &[u8]) -> bool {
        sha256_crypt(password, &self.salt, self.rounds).ct_eq(&self.digest).into()
    }
}

/// True when `response` proves the password behind `stored` under `mysql_native_password`.
pub fn verify_native(stored: &[u8; 20], nonce: &Nonce, response: &[u8]) -> bool {
    let Ok(response) = <&[u8; 20]>::try_from(response) else { return false };
    let mask: [u8; 20] = Sha1::new().chain_update(nonce.0).chain_update(stored).finalize().into();
    let once: [u8; 20] = std::array::from_fn(|i| xor_at(response, &mask, i));
    Sha1::digest(once).ct_eq(stored).into()
}

/// True when `response` proves the password behind `stored` under `caching_sha2_password`.
pub fn verify_caching_sha2(stored: &[u8; 32], nonce: &Nonce, response: &[u8]) -> bool {
    let Ok(response) = <&[u8; 32]>::try_from(response) else { return false };
    let mask: [u8; 32] = Sha256::new().chain_update(stored).chain_update(nonce.0).finalize().into();
    let once: [u8; 32] = std::array::from_fn(|i| xor_at(response, &mask, i));
    Sha256::digest(once).ct_eq(stored).into()
}

fn xor_at<const N: usize>(a: &[u8; N], b: &[u8; N], at: usize) -> u8 {
    a.get(at).zip(b.get(at)).map_or(0, |(a, b)| a ^ b)
}

/// SHA256(SHA256(password)).
pub fn double_sha256(password: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(password)).into()
}

/// Digests learned from full logins against slow hashes.
pub struct LearnedDigests {
    by_stored: Mutex<LruCache<SaltedSha256, [u8; 32]>>,
}

impl Default for LearnedDigests {
    fn default() -> LearnedDigests {
        let capacity = NonZeroUsize::new(LEARNED_DIGESTS_MAX).unwrap_or(NonZeroUsize::MIN);
        LearnedDigests { by_stored: Mutex::new(LruCache::new(capacity)) }
    }
}

impl LearnedDigests {
    /// The digest behind a stored hash, if a full login has shown it.
    pub fn get(&self, stored: &SaltedSha256) -> Option<[u8; 32]> {
        self.by_stored.lock().get(stored).copied()
    }

    /// Keeps what a full login has shown.
    pub fn learn(&self, stored: &SaltedSha256, password: &[u8]) {
        self.by_stored.lock().put(stored.clone(), double_sha256(password));
    }
}

/// Ulrich Drepper's SHA-crypt with SHA-256, steps 1 to 21 of his description.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let b: [u8; 32] = Sha256::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut a = Sha256::new().chain_update(password).chain_update(salt);
    a.update(repeat_to(&b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            a.update(b)
        } else {
            a.update(password)
        }
        bits >>= 1;
    }
    let mut digest: [u8; 32] = a.finalize().into();

    let mut dp = Sha256::new();
    for _ in 0..password.len() {
        dp.update(password);
    }
    let p = repeat_to(&dp.finalize(), password.len());
    let mut ds = Sha256::new();
    let [first, ..] = digest;
    for _ in 0..16 + usize::from(first) {
        ds.update(salt);
    }
    let s = repeat_to(&ds.finalize(), salt.len());

    for round in 0..rounds {
        let mut c = Sha256::new();
        if round & 1 == 1 {
            c.update(&p)
        } else {
            c.update(digest)
        }
        if round % 3 != 0 {
            c.update(&s);
        }
        if round % 7 != 0 {
            c.update(&p);
        }
        if round & 1 == 1 {
            c.update(digest)
        } else {
            c.update(&p)
        }
        digest = c.finalize().into();
    }
    digest
}

fn repeat_to(pattern: &[u8], length: usize) -> Vec<u8> {
    pattern.iter().copied().cycle().take(length).collect()
}

const CRYPT64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The order in which the digest's bytes are written, three to four characters; the last two to three.
const CRYPT_ORDER: [[usize; 3]; 10] = [
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

fn decode_crypt64(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 43 {
        return None;
    }
    let mut digest = [0; 32];
    let mut groups = text.chunks(4).map(|group| {
        group.iter().rev().try_fold(0_u32, |bits, character| {
            let value = CRYPT64.iter().position(|known| known == character)?;
            Some(bits << 6 | value as u32)
        })
    });
    for places in CRYPT_ORDER {
        let [_, high, middle, low] = groups.next()??.to_be_bytes();
        for (place, byte) in places.into_iter().zip([high, middle, low]) {
            *digest.get_mut(place)? = byte;
        }
    }
    let [_, _, high, low] = groups.next()??.to_be_bytes();
    (*digest.get_mut(31)?, *digest.get_mut(30)?) = (high, low);
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn native_response(password: &[u8], nonce: &Nonce) -> Vec<u8> {
        let once = Sha1::digest(password);
        let mask = Sha1::new().chain_update(nonce.0).chain_update(Sha1::digest(once)).finalize();
        once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
    }

    fn sha2_response(password: &[u8], nonce: &Nonce) -> Vec<u8> {
        let mask = Sha256::new().chain_update(double_sha256(password)).chain_update(nonce.0).finalize();
        Sha256::digest(password).iter().zip(mask).map(|(a, b)| a ^ b).collect()
    }

    #[test]
    fn right_wrong_short_and_long_proofs() {
        let nonce = Nonce::from_random(std::array::from_fn(|i| (i * 37) as u8));
        let native: [u8; 20] = Sha1::digest(Sha1::digest(b"secret")).into();
        let sha2 = double_sha256(b"secret");
        assert!(verify_native(&native, &nonce, &native_response(b"secret", &nonce)));
        assert!(verify_caching_sha2(&sha2, &nonce, &sha2_response(b"secret", &nonce)));
        assert!(!verify_native(&native, &nonce, &native_response(b"other", &nonce)));
        assert!(!verify_caching_sha2(&sha2, &nonce, &sha2_response(b"other", &nonce)));
        for length in [0, 1, 19, 21, 31, 33, 100] {
            assert!(!verify_native(&native, &nonce, &vec![0; length]));
            assert!(!verify_caching_sha2(&sha2, &nonce, &vec![0; length]));
        }
    }

    #[test]
    fn sha_crypt_of_known_vectors() {
        // As `openssl passwd -5` makes them.
        for (password, salt, expected) in [
            ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (
                "pässword that is longer than thirty-two bytes",
                "0123456789abcdef",
                "Hmqd5Z/f05JA/QujSf2zT7WE.1PWjrOR7RlmKXIlNJ.",
            ),
        ] {
            let digest = sha256_crypt(password.as_bytes(), salt.as_bytes(), 5000);
            assert_eq!(Some(digest), decode_crypt64(expected.as_bytes()), "{salt}");
        }
    }

    #[test]
    fn stored_form() {
        let salt = b"0123456789abcdefghij";
        let stored = [b"$A$005$", &salt[..], b"5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"].concat();
        let parsed = SaltedSha256::parse(&stored).unwrap();
        assert_eq!((parsed.rounds, &parsed.salt[..]), (5000, &salt[..]));
        assert!(!parsed.matches(b"Hello world!"), "the salt differs");
        for length in 0..stored.len() {
            assert_eq!(SaltedSha256::parse(&stored[..length]), None);
        }
    }

    #[test]
    fn digests_are_learned_per_stored_hash() {
        let stored = |salt: &[u8]| SaltedSha256 { rounds: 1000, salt: salt.to_vec(), digest: [0; 32] };
        let learned = LearnedDigests::default();
        learned.learn(&stored(b"a"), b"pw");
        assert_eq!(learned.get(&stored(b"a")), Some(double_sha256(b"pw")));
        assert_eq!(learned.get(&stored(b"b")), None);
    }

    proptest! {
        #[test]
        fn nonces_are_printable(bytes in any::<[u8; 20]>()) {
            prop_assert!(Nonce::from_random(bytes).0.iter().all(|byte| (0x25..0x7f).contains(byte)));
        }
    }
}
