//! A back end that is silent: its queue is full, and nobody takes from it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

pub(crate) struct Silent {
    listener: TcpListener,
    queued: Vec<TcpStream>,
    pub(crate) url: String,
}

impl Silent {
    pub(crate) fn start() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let moment = Duration::from_millis(500);
        let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok());
        Self {
            queued: queued.collect(),
            listener,
            url: format!("http://{address}"),
        }
    }

    /// Its socket, with nobody in the queue: who has waited to be taken is the next.
    pub(crate) fn wake(self) -> TcpListener {
        for _ in &self.queued {
            self.listener.accept().unwrap();
        }
        self.listener
    }
}
