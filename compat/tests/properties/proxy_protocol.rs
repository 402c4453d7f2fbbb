//! A PROXY header ends where it says, however it comes, and what is behind it does not matter.

use std::net::{IpAddr, SocketAddr};

use pullgate_compat::proxy_protocol::{Header, MAX_HEADER, parse};

/// `data` is what a connection begins with; and it gives the addresses of headers that are right.
pub fn proxy_protocol(data: &[u8]) {
    if let Ok(Some(header)) = parse(data) {
        ends_where_it_says(data, header);
    } else {
        // Cut anywhere, it is no other.
        for cut in 0..data.len().min(MAX_HEADER) {
            assert!(!matches!(parse(&data[..cut]), Ok(Some(_))));
        }
    }
    let mut bytes = [0; 20];
    let given = data.len().min(bytes.len());
    bytes[..given].copy_from_slice(&data[..given]);
    let (v4, rest) = bytes.split_first_chunk::<4>().unwrap();
    let port = u16::from_be_bytes([rest[0], rest[1]]);
    let (v6, _) = bytes.split_first_chunk::<16>().unwrap();
    for ip in [IpAddr::from(*v4), IpAddr::from(*v6)] {
        let source = SocketAddr::new(ip, port);
        for written in [line(source), block(source, data)] {
            let header = parse(&written).unwrap().unwrap();
            assert_eq!(
                (header.source, header.length),
                (Some(source), written.len())
            );
            ends_where_it_says(&written, header);
        }
    }
}

fn ends_where_it_says(bytes: &[u8], header: Header) {
    assert!(header.length <= MAX_HEADER);
    let (own, behind) = bytes.split_at(header.length);
    for cut in 0..own.len() {
        assert_eq!(parse(&own[..cut]), Ok(None), "cut at {cut}");
    }
    assert_eq!(parse(own), Ok(Some(header)));
    assert_eq!(parse(&[own, b"x", behind].concat()), Ok(Some(header)));
}

fn line(source: SocketAddr) -> Vec<u8> {
    let (ip, port) = (source.ip(), source.port());
    let family = if ip.is_ipv4() { 4 } else { 6 };
    format!("PROXY TCP{family} {ip} {ip} {port} 80\r\n").into()
}

/// With an addition of its own.
fn block(source: SocketAddr, addition: &[u8]) -> Vec<u8> {
    let addition = &addition[..addition.len().min(1000)];
    let (family, ip) = match source.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let big_endian = |number: usize| u16::try_from(number).unwrap().to_be_bytes();
    let ports = [source.port().to_be_bytes(), [0, 80]].concat();
    let addition = [&[0xe0][..], &big_endian(addition.len()), addition].concat();
    let block = [&ip[..], &ip, &ports, &addition].concat();
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..]].concat();
    [&fixed[..], &big_endian(block.len()), &block].concat()
}
