//! Moving octets from one host to another and looking at what arrives.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use super::host::Host;
use super::wait::patience_here;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends `bytes` octets over TCP from `client` to `address` on `server` and back again, and wants them unharmed.
pub fn round_trip(client: &Host, server: &Host, address: IpAddr, bytes: usize) -> Result<()> {
    let listener = server.run(move || TcpListener::bind((address, 0)))?;
    let target = listener.local_addr()?;
    // Ends with the connection, which ends below at the latest.
    let echo: JoinHandle<io::Result<()>> = std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(patience_here(PATIENCE)))?;
        }
        io::copy(&mut &stream, &mut &stream)?;
        stream.shutdown(Shutdown::Write)
    });
    let context = || format!("TCP from {} to {target} on {}", client.role(), server.role());
    let stream = client.run(move || connect(target)).with_context(context)?;
    exchange(&stream, bytes).with_context(context)?;
    echo.join().map_err(|_| anyhow!("the echo panicked"))?.with_context(context)
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, patience_here(PATIENCE))?;
    stream.set_read_timeout(Some(patience_here(PATIENCE)))?;
    stream.set_write_timeout(Some(patience_here(PATIENCE)))?;
    Ok(stream)
}

fn exchange(stream: &TcpStream, bytes: usize) -> Result<()> {
    let sent: Vec<u8> = (0..bytes).map(pattern).collect();
    let mut received = Vec::with_capacity(bytes);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            (&mut &*stream).write_all(&sent)?;
            stream.shutdown(Shutdown::Write)
        });
        (&mut &*stream).read_to_end(&mut received)?;
        writing.join().map_err(|_| anyhow!("the writer panicked"))??;
        anyhow::Ok(())
    })?;
    ensure!(received.len() == bytes, "{} of {bytes} octets came back", received.len());
    ensure!(received == sent, "what came back is not what was sent");
    Ok(())
}

/// An octet for each place that makes shifted, swapped and repeated pieces show.
fn pattern(place: usize) -> u8 {
    let mixed = place.wrapping_mul(0x9e37_79b9) >> 13;
    mixed.to_le_bytes().into_iter().fold(0, |a, b| a ^ b)
}
