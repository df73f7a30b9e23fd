//! A tunnel with keys from the command line: the data plane without IKE.
//!
//! Both ends run this program, as root, with the same keys and everything else exchanged. Two network namespaces
//! joined by a veth pair will do for a try:
//!
//! ```sh
//! for n in left right; do ip netns add $n; done
//! ip link add l0 netns left type veth peer name r0 netns right
//! ip -n left  addr add 192.0.2.1/24 dev l0; ip -n left  link set l0 up; ip -n left  link set lo up
//! ip -n right addr add 192.0.2.2/24 dev r0; ip -n right link set r0 up; ip -n right link set lo up
//! ip -n left  addr add 10.1.0.1/24 dev lo;  ip -n right addr add 10.2.0.1/24 dev lo
//!
//! run() { ip netns exec $1 target/debug/examples/static_tunnel "${@:2}"; }
//! run left  192.0.2.1:4500 192.0.2.2:4500 10.1.0.0/24 10.2.0.0/24 1001 1002 aes256gcm16 &
//! run right 192.0.2.2:4500 192.0.2.1:4500 10.2.0.0/24 10.1.0.0/24 1002 1001 aes256gcm16 &
//! ip -n left  route add 10.2.0.0/24 dev ipsec0 src 10.1.0.1
//! ip -n right route add 10.1.0.0/24 dev ipsec0 src 10.2.0.1
//! ip netns exec left ping 10.2.0.1
//! ```
//!
//! Each end derives the key of a direction from that direction's SPI, so this protects nothing.

use std::error::Error;
use std::io::{self, BufRead};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;

use ferry_esp::plane::{ChildId, Path, Plane, PlaneConfig};
use ferry_esp::{
    AddressRange, AesKeySize, InboundParams, Integrity, KeyMaterial, Limits, OutboundParams, Selector,
    Selectors, SequenceNumbers, Spi, Suite, TunnelOptions,
};

const USAGE: &str =
    "usage: static_tunnel LOCAL:PORT REMOTE:PORT LOCAL-NET REMOTE-NET SPI-IN SPI-OUT SUITE [DEVICE]
  SPIs in hexadecimal; SUITE one of aes128gcm16 aes192gcm16 aes256gcm16 chacha20poly1305 aes128cbc-sha256";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (settings, device) = match arguments {
        [settings @ .., device] if settings.len() == 7 => (settings, device.as_str()),
        settings => (settings, "ipsec0"),
    };
    let [local, remote, local_net, remote_net, spi_in, spi_out, suite] = settings else {
        return Err(USAGE.into());
    };

    let path = Path { local: local.parse::<SocketAddr>()?, remote: remote.parse()? };
    let selectors = Selectors { local: vec![network(local_net)?], remote: vec![network(remote_net)?] };
    let (spi_in, spi_out) = (Spi(u32::from_str_radix(spi_in, 16)?), Spi(u32::from_str_radix(spi_out, 16)?));
    let suite = suite_named(suite)?;
    let (sequence_numbers, tunnel) = (SequenceNumbers::Extended, TunnelOptions::default());

    let plane = Plane::start(
        &PlaneConfig { device: device.to_owned(), ..PlaneConfig::default() },
        vec![UdpSocket::bind(path.local)?],
        |datagram| println!("IKE: {} octets from {}", datagram.payload.len(), datagram.remote),
        |event| println!("{event:?}"),
    )?;
    let child = ChildId(1);
    let inbound = InboundParams {
        spi: spi_in,
        suite,
        keys: toy_keys(suite, spi_in),
        sequence_numbers,
        replay_window: 1024,
        selectors: selectors.clone(),
        tunnel,
    };
    plane.add_inbound(child, inbound, path, Limits::default())?;
    let keys = toy_keys(suite, spi_out);
    let outbound = OutboundParams { spi: spi_out, suite, keys, sequence_numbers, selectors, tunnel };
    plane.add_outbound(child, outbound, path, Limits::default(), None)?;

    println!(
        "{device} is up with {suite}; a line on standard input shows the counters, its end stops the tunnel"
    );
    for line in io::stdin().lock().lines() {
        line?;
        println!("{:?}", plane.query(child).ok_or("the child was removed")?);
        for (reason, count) in plane.stats().iter().filter(|(_, count)| *count > 0) {
            println!("dropped {count}: {reason}");
        }
    }
    Ok(())
}

fn network(prefix: &str) -> Result<Selector, Box<dyn Error>> {
    let (address, len) = prefix.split_once('/').ok_or("a network is ADDRESS/LENGTH")?;
    Ok(Selector::addresses(AddressRange::prefix(address.parse()?, len.parse()?)?))
}

fn suite_named(name: &str) -> Result<Suite, Box<dyn Error>> {
    Ok(match name {
        "aes128gcm16" => Suite::AesGcm16(AesKeySize::Aes128),
        "aes192gcm16" => Suite::AesGcm16(AesKeySize::Aes192),
        "aes256gcm16" => Suite::AesGcm16(AesKeySize::Aes256),
        "chacha20poly1305" => Suite::ChaCha20Poly1305,
        "aes128cbc-sha256" => Suite::AesCbc(AesKeySize::Aes128, Integrity::HmacSha256_128),
        _ => return Err(format!("no suite {name}\n{USAGE}").into()),
    })
}

/// Keys anybody can guess.
fn toy_keys(suite: Suite, spi: Spi) -> KeyMaterial {
    let stream: Vec<u8> = spi.0.to_be_bytes().into_iter().cycle().take(128).collect();
    let (encryption, rest) = stream.split_at(suite.encryption_key_len());
    KeyMaterial::new(encryption, rest.split_at(suite.integrity_key_len()).0)
}
