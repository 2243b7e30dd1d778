//! A client that sends bytes: what drivers would not send, and TLS by hand.

use sha1::Digest as _;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, MULTI_RESULTS, DEPRECATE_EOF, TRANSACTIONS.
pub const CAPABILITIES: u32 = 1 << 9 | 1 << 15 | 1 << 19 | 1 << 17 | 1 << 24 | 1 << 13;
pub const SSL: u32 = 1 << 11;
pub const LOCAL_FILES: u32 = 1 << 7;
pub const MULTI_STATEMENTS: u32 = 1 << 16;

pub struct Raw {
    pub stream: Box<dyn Stream>,
    pub sequence: u8,
    pub nonce: Vec<u8>,
}

impl Raw {
    /// Connects and reads the greeting.
    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut raw = Raw { stream: Box::new(stream), sequence: 0, nonce: Vec::new() };
        let greeting = raw.read().await.unwrap();
        assert_eq!(greeting[0], 10);
        let after_version = 2 + greeting[1..].iter().position(|&byte| byte == 0).unwrap();
        raw.nonce.extend_from_slice(&greeting[after_version + 4..after_version + 12]);
        raw.nonce.extend_from_slice(&greeting[after_version + 31..after_version + 43]);
        raw
    }

    /// Connects and logs in with a name and no password.
    pub async fn login(address: SocketAddr, user: &str) -> Raw {
        let mut raw = Raw::connect(address).await;
        let response = raw.response(user, b"", "caching_sha2_password", CAPABILITIES | LOCAL_FILES | MULTI_STATEMENTS);
        raw.write(&response).await;
        assert_eq!(raw.read().await.unwrap()[0], 0);
        raw
    }

    pub fn response(&self, user: &str, proof: &[u8], plugin: &str, capabilities: u32) -> Vec<u8> {
        let mut packet = ssl_request(capabilities);
        packet.extend_from_slice(user.as_bytes());
        packet.push(0);
        packet.push(proof.len() as u8);
        packet.extend_from_slice(proof);
        packet.extend_from_slice(plugin.as_bytes());
        packet.push(0);
        packet
    }

    pub async fn read(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.ok()?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        self.sequence = header[3].wrapping_add(1);
        Some(payload)
    }

    pub async fn write(&mut self, payload: &[u8]) {
        let packet = packet(self.sequence, payload);
        self.stream.write_all(&packet).await.unwrap();
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Sends a command and reads the first packet of its answer.
    pub async fn command(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        self.sequence = 0;
        self.write(payload).await;
        self.read().await
    }

    /// Sends a command and returns the number of the error it answers.
    pub async fn error(&mut self, payload: &[u8]) -> u16 {
        let answer = self.command(payload).await.expect("the connection was closed");
        error_number(&answer)
    }

    pub async fn ping(&mut self) {
        assert_eq!(self.command(&[0x0e]).await.unwrap()[0], 0);
    }
}

pub fn ssl_request(capabilities: u32) -> Vec<u8> {
    let mut packet = capabilities.to_le_bytes().to_vec();
    packet.extend_from_slice(&[0, 0, 0, 1, 45]);
    packet.extend_from_slice(&[0; 23]);
    packet
}

pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes().to_vec();
    packet[3] = sequence;
    packet.extend_from_slice(payload);
    packet
}

pub fn error_number(answer: &[u8]) -> u16 {
    assert_eq!(answer[0], 0xff, "not an error: {}", answer.escape_ascii());
    u16::from_le_bytes([answer[1], answer[2]])
}

pub fn native_proof(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = sha1::Sha1::digest(password);
    let mask = sha1::Sha1::new().chain_update(nonce).chain_update(sha1::Sha1::digest(once)).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

pub fn sha2_proof(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let once = sha2::Sha256::digest(password);
    let mask = sha2::Sha256::new().chain_update(sha2::Sha256::digest(once)).chain_update(nonce).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}
