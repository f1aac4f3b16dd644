//! Strangers and broken clients: each ends in a clean error, and a good stream goes on.

use std::process::Command;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};
use windrose_vocab::ResourceKind;

use crate::client::{Credential, Delta, node, within};
use crate::stage::{Stage, cluster, orders, until};

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// A stream that must not notice anything.
async fn witness(stage: &mut Stage) -> Delta {
    stage.publish(&orders(), [cluster("a", "0")]);
    let mut stream = stage.delta(&stage.certificate(&orders())).await.unwrap();
    stream.subscribe(ResourceKind::Cluster).await;
    let first = stream.next().await.unwrap();
    stream.ack(&first).await;
    stream
}

async fn goes_on(stage: &mut Stage, witness: &mut Delta, told: &'static str) {
    stage.publish(&orders(), [cluster("a", told)]);
    let next = witness.next().await.unwrap();
    assert_eq!(next.resources[0].resource.as_ref().unwrap().value, told.as_bytes());
    witness.ack(&next).await;
}

/// Sends bytes as if they were messages.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How a stream ends that begins with this message.
async fn end_of(stage: &Stage, message: Vec<u8>) -> Status {
    let mut client = tonic::client::Grpc::new(stage.channel(&stage.certificate(&orders())).await.unwrap());
    client.ready().await.unwrap();
    let (send, messages) = tokio::sync::mpsc::channel(1);
    send.send(Bytes::from(message)).await.unwrap();
    let request = tonic::Request::new(tokio_stream::wrappers::ReceiverStream::new(messages));
    let answered = async {
        let mut responses = client.streaming(request, PathAndQuery::from_static(DELTA), Raw).await?.into_inner();
        loop {
            match responses.message().await? {
                Some(_) => {}
                None => return Err::<(), _>(Status::ok("")),
            }
        }
    };
    let status = within(answered).await.unwrap_err();
    drop(send);
    status
}

fn request() -> envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest {
    envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: ResourceKind::Endpoints.type_url().into(),
        ..Default::default()
    }
}

/// `node.metadata` with structs within structs.
fn deep(levels: usize) -> Vec<u8> {
    let field = |number: u8, inner: &[u8]| {
        let mut out = BytesMut::new();
        out.put_u8(number << 3 | 2);
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.put_slice(inner);
        out.to_vec()
    };
    let mut nested = Vec::new();
    for _ in 0..levels {
        let value = field(5, &nested);
        let entry = [field(1, b"x"), field(2, &value)].concat();
        nested = field(1, &entry);
    }
    field(1, &field(3, &nested))
}

#[tokio::test]
async fn rule_45_hostile_messages_end_their_stream_with_a_clean_error() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    let mut many = request();
    many.resource_names_subscribe = (0..1_000_000).map(|n| n.to_string()).collect();
    let mut long = request();
    long.resource_names_subscribe = vec!["x".repeat(1 << 20)];
    let mut nul = request();
    nul.type_url = String::new();
    let mut nobody = request();
    nobody.node = None;
    let mut modules = request();
    modules.node.as_mut().unwrap().id = "x".repeat(1 << 20);
    let cases = [
        ("a million names", many.encode_to_vec(), Code::ResourceExhausted),
        ("a name of 1 MB", long.encode_to_vec(), Code::InvalidArgument),
        ("no type", nul.encode_to_vec(), Code::InvalidArgument),
        ("no node", nobody.encode_to_vec(), Code::InvalidArgument),
        ("a node id of 1 MB", modules.encode_to_vec(), Code::InvalidArgument),
        ("invalid UTF-8", vec![0x12, 2, 0xff, 0xfe], Code::InvalidArgument),
        ("no protobuf", vec![0xff; 64], Code::InvalidArgument),
        ("millions of empty names", [&request().encode_to_vec()[..], &[0x1a, 0].repeat(4 << 20)].concat(), Code::ResourceExhausted),
        ("deep metadata", deep(2_000), Code::InvalidArgument),
        ("17 MB", vec![0; 17 << 20], Code::ResourceExhausted),
    ];
    for (what, message, code) in cases {
        let status = end_of(&stage, message).await;
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(status.message().len() < 200, "{what}: {}", status.message());
    }
    goes_on(&mut stage, &mut witness, "1").await;
    until("nothing is left of them", || stage.counters.streams_open.get() == 1 && stage.observed.len() == 1).await;
}

/// A connection on which frames are written by hand.
struct Frames(TlsStream<TcpStream>);

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

impl Frames {
    async fn open(stage: &Stage, credential: &Credential) -> Self {
        let mut frames = Self(stage.handshake(credential).await.unwrap());
        frames.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        frames.put(4, 0, 0, &[]).await;
        frames
    }

    /// False once the other side is gone.
    async fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_u8(kind);
        frame.put_u8(flags);
        frame.put_u32(stream);
        frame.put_slice(payload);
        self.0.write_all(&frame).await.is_ok()
    }

    async fn request(&mut self, stream: u32, more: &[u8]) -> bool {
        let mut block = vec![0x83, 0x87, 0x01, 1, b'x', 0x04, u8::try_from(DELTA.len()).unwrap()];
        block.extend_from_slice(DELTA.as_bytes());
        block.extend_from_slice(&[0x0f, 0x10, 16]);
        block.extend_from_slice(b"application/grpc");
        block.extend_from_slice(more);
        self.put(HEADERS, END_HEADERS, stream, &block).await
    }

    /// What the server sends until it closes: kinds of frames, and the error code of a GOAWAY.
    async fn closed(mut self) -> (Vec<u8>, Option<u32>) {
        let mut all = Vec::new();
        let _ = within(self.0.read_to_end(&mut all)).await;
        let (mut kinds, mut error, mut rest) = (Vec::new(), None, all.as_slice());
        while rest.len() >= 9 {
            let length = usize::try_from(rest.get_uint(3)).unwrap();
            let kind = rest.get_u8();
            rest.advance(5);
            let payload = &rest[..length.min(rest.len())];
            if kind == GOAWAY {
                error = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
            kinds.push(kind);
            rest.advance(length.min(rest.len()));
        }
        (kinds, error)
    }
}

#[tokio::test]
async fn rule_45_floods_of_frames_end_their_connection_and_no_other() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    let stranger = Credential::default();

    let mut rapid = Frames::open(&stage, &stranger).await;
    for n in 0..10_000 {
        let stream = 2 * n + 1;
        if !rapid.request(stream, &[]).await || !rapid.put(RST_STREAM, 0, stream, &8u32.to_be_bytes()).await {
            break;
        }
    }
    assert_eq!(rapid.closed().await.1, Some(11), "rapid reset: ENHANCE_YOUR_CALM");

    let mut continued = Frames::open(&stage, &stranger).await;
    continued.put(HEADERS, 0, 1, &[0x83]).await;
    let piece = [&[0x00, 1, b'a', 100][..], &[b'v'; 100]].concat();
    for _ in 0..100_000 {
        if !continued.put(CONTINUATION, 0, 1, &piece).await {
            break;
        }
    }
    let (_, error) = continued.closed().await;
    assert!(matches!(error, Some(1 | 11)), "CONTINUATION flood: {error:?}");

    let mut empty = Frames::open(&stage, &stage.certificate(&orders())).await;
    empty.request(1, &[]).await;
    for _ in 0..100_000 {
        if !empty.put(0, 0, 1, &[]).await {
            break;
        }
    }
    assert_eq!(empty.closed().await.1, Some(11), "empty DATA flood");
    goes_on(&mut stage, &mut witness, "1").await;
}

#[tokio::test]
async fn rule_45_headers_beyond_the_limit_are_refused() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    let mut frames = Frames::open(&stage, &Credential::default()).await;
    let large = [&[0x00, 1, b'a', 0x7f][..], &[0x81, 0x76][..], &[b'v'; 15_232]].concat();
    frames.request(1, &large).await;
    frames.request(3, &large[..6]).await;
    let _ = frames.closed().await;
    assert_eq!(stage.counters.streams.get(), 1);
    goes_on(&mut stage, &mut witness, "1").await;
}

#[tokio::test]
async fn rule_45_who_speaks_no_tls_or_no_http2_is_closed() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0x16, 3, 1, 0xff, 0xff], &[0; 64]] {
        let mut stream = TcpStream::connect(stage.address).await.unwrap();
        stream.write_all(words).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
    until("all four failed", || stage.counters.handshakes_failed.get() == 4).await;
    let mut stream = stage.handshake(&stage.certificate(&orders())).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
    until("closed", || stage.counters.connections_open.get() == 1).await;
    goes_on(&mut stage, &mut witness, "1").await;
}

#[tokio::test]
async fn rule_42_many_idle_streams_disturb_nobody_and_are_bounded_per_connection() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    let credential = stage.certificate(&orders());
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut frames = Frames::open(&stage, &credential).await;
        for n in 0..100 {
            frames.request(2 * n + 1, &[]).await;
        }
        idle.push(frames);
    }
    until("as many as may be", || stage.counters.streams_open.get() > 40 * 16).await;
    assert_eq!(stage.counters.streams_open.get(), 40 * 16 + 1);
    goes_on(&mut stage, &mut witness, "1").await;
    drop(idle);
    until("all gone", || stage.counters.streams_open.get() == 1).await;
}

#[test]
fn rule_45_a_server_without_file_descriptors_recovers() {
    let own = std::env::current_exe().unwrap();
    let script = "ulimit -n 64; exec \"$0\" --exact hostile::with_64_descriptors --ignored --nocapture";
    let output = Command::new("sh").args(["-c", script]).arg(own).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs a low limit of descriptors: a_server_without_file_descriptors_recovers runs it"]
async fn with_64_descriptors() {
    let mut stage = Stage::new().await;
    let mut witness = witness(&mut stage).await;
    let mut strangers = Vec::new();
    while let Ok(stream) = TcpStream::connect(stage.address).await {
        strangers.push(stream);
        assert!(strangers.len() < 64, "the limit is not low");
    }
    until("accept failed", || stage.counters.accept_errors.get() > 0).await;
    goes_on(&mut stage, &mut witness, "1").await;
    drop(strangers);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut late = stage.delta(&stage.certificate(&orders())).await.unwrap();
    late.subscribe(ResourceKind::Cluster).await;
    late.next().await.unwrap();
}
