//! A client that believes every certificate whose key the server has, and tells which it was shown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::harness::{Response, connect};

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A handshake by these protocols of TLS and, by ALPN, above it.
pub(crate) fn handshake(
    address: &str,
    name: &'static str,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&str],
) -> (TlsStream, Arc<Witness>) {
    let (config, witness) = believing(versions, alpn);
    let name = ServerName::try_from(name).unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, connect(address));
    // The handshake is done when something goes through.
    stream.flush().unwrap();
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    (stream, witness)
}

/// What makes such handshakes, and who tells what was seen of them.
pub(crate) fn believing(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&str],
) -> (ClientConfig, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (config, witness)
}

/// The usual one: HTTP/1.1 over what is newest.
pub(crate) fn open(address: &str, name: &'static str) -> TlsStream {
    handshake(address, name, rustls::ALL_VERSIONS, &[]).0
}

/// The certificate that the server showed.
pub(crate) fn shown(stream: &TlsStream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// Sends a request and reads all that comes.
pub(crate) fn exchange(mut stream: TlsStream, request: &str) -> Response {
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    Response::parse(&bytes).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&bytes)))
}

/// What was seen of a handshake.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub(crate) stapled: Mutex<Vec<u8>>,
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.stapled.lock().unwrap() = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
