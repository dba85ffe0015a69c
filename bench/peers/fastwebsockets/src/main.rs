//! JSON echo on fastwebsockets and sonic-rs. The library writes each frame by itself.
//!
//! Prints `READY PORT`; ends when its standard input does.

use std::error::Error;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{Frame, OpCode, Payload};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("READY {}", listener.local_addr()?.port());
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let serve = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(accept))
                .with_upgrades();
            // The load notices what goes wrong.
            let _ = serve.await;
        });
    }
}

async fn accept(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>> {
    let (response, socket) = upgrade(&mut request)?;
    tokio::spawn(async move {
        // The load closes its sockets without a close frame.
        let _ = echo(socket).await;
    });
    Ok(response)
}

async fn echo(socket: UpgradeFut) -> Result<()> {
    let mut ws = socket.await?;
    ws.set_auto_close(true);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text => {
                let value: sonic_rs::Value = sonic_rs::from_slice(&frame.payload)?;
                let text = sonic_rs::to_vec(&value)?;
                ws.write_frame(Frame::text(Payload::Owned(text))).await?;
            }
            _ => {}
        }
    }
}
