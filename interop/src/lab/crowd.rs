//! A crowd: datagrams at a high rate, each from an address made up for it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use super::host::Host;

/// How long the crowd rests between two bursts.
const REST: Duration = Duration::from_micros(500);

/// Octets of an IPv4 header without options, and of a UDP header behind it.
const HEADERS: usize = 28;

/// What a crowd does.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Datagrams each second.
    pub rate: u32,
    /// When it stops of its own accord.
    pub at_most: Duration,
}

/// A running crowd. Dropping it stops it.
#[derive(Debug)]
pub struct Crowd {
    sent: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Crowd {
    /// Begins to send from `host` to `target`, UDP as it is: `speak` gives the sender of each datagram and writes what
    /// it says.
    pub fn begin(
        host: &Host,
        target: SocketAddrV4,
        pace: Pace,
        mut speak: impl FnMut(u64, &mut Vec<u8>) -> SocketAddrV4 + Send + 'static,
    ) -> Result<Self> {
        // Whoever opens such a socket writes the IP header, source address and all.
        let socket = host.run(|| {
            socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        })?;
        let (sent, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
            move || {
                let begun = Instant::now();
                let mut datagram = Vec::new();
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) && begun.elapsed() < pace.at_most {
                    while number < due(pace.rate, begun.elapsed()) {
                        datagram.clear();
                        datagram.resize(HEADERS, 0);
                        let source = speak(number, &mut datagram);
                        write_headers(&mut datagram, source, target)?;
                        say(&socket, &datagram, target)?;
                        number += 1;
                        sent.store(number, Ordering::Relaxed);
                    }
                    std::thread::sleep(REST);
                }
                Ok(())
            }
        });
        Ok(Self { sent, is_over, thread: Some(thread) })
    }

    /// How many datagrams have been sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops the crowd and says how many datagrams it sent.
    pub fn end(mut self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a crowd ends once")?;
        thread.join().map_err(|_| anyhow!("the crowd panicked"))??;
        Ok(self.sent())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// How many datagrams should have been sent after some time.
fn due(rate: u32, time: Duration) -> u64 {
    u64::try_from(time.as_micros() * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX)
}

fn say(socket: &OwnedFd, datagram: &[u8], target: SocketAddrV4) -> Result<()> {
    match sendto(socket, datagram, SendFlags::empty(), &target) {
        // A full queue is a crowd that cannot be heard, and shows in what arrives.
        Ok(_) | Err(rustix::io::Errno::NOBUFS) => Ok(()),
        Err(error) => Err(error).context("the crowd cannot send"),
    }
}

/// Writes the headers before what is said. The kernel fills in length, identification and checksum of IPv4; UDP's
/// checksum is optional there (RFC 768).
fn write_headers(datagram: &mut [u8], source: SocketAddrV4, target: SocketAddrV4) -> Result<()> {
    let length = u16::try_from(datagram.len())?;
    let udp_length = length - u16::try_from(HEADERS)? + 8;
    let [s, t] = [source, target].map(|end| (end.ip().octets(), end.port().to_be_bytes()));
    let headers =
        [&[0x45, 0], &length.to_be_bytes()[..], &[0, 0, 0, 0, 64, 17, 0, 0], &s.0, &t.0, &s.1, &t.1];
    let headers = headers.concat().into_iter().chain(udp_length.to_be_bytes());
    datagram.iter_mut().zip(headers).for_each(|(octet, header)| *octet = header);
    Ok(())
}

/// The `number`th address of a network of `bits` leading bits, counted in an order that looks random.
pub fn address_in(network: Ipv4Addr, bits: u32, number: u64) -> Ipv4Addr {
    let hosts = u32::MAX.checked_shr(bits).unwrap_or(0);
    // An odd factor visits every address of the network before it comes back to the first.
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0).wrapping_mul(0x9e37_79b1);
    Ipv4Addr::from_bits(network.to_bits() & !hosts | low & hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_ipv4_and_udp() {
        let mut datagram = vec![0; HEADERS];
        datagram.extend(b"IKE");
        let [source, target] = ["198.18.0.1:500", "192.0.2.1:4500"].map(|end| end.parse().unwrap());
        write_headers(&mut datagram, source, target).unwrap();
        let expected = [
            &[0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 1, 192, 0, 2, 1][..],
            &[0x01, 0xf4, 0x11, 0x94, 0, 11, 0, 0],
            b"IKE",
        ];
        assert_eq!(datagram, expected.concat());
    }

    #[test]
    fn everybody_in_a_crowd_has_an_address_of_their_own() {
        let network = Ipv4Addr::new(198, 18, 0, 0);
        let mut addresses: Vec<_> = (0..1 << 17).map(|number| address_in(network, 15, number)).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 1 << 17);
        assert_eq!(addresses.first(), Some(&network));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(198, 19, 255, 255)));
    }
}
