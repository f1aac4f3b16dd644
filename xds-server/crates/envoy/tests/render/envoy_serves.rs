//! What a real Envoy does with rendered routes, where its documentation leaves a question.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fixture::{self, answer, backend, cluster, endpoints, forward, handler, http, route, text, to, virtual_host};
use windrose_ir::http::{HttpFilter, HttpHandler, HttpLimits, RouteSource};
use windrose_ir::listener::{Handler, Listener, Transport};
use windrose_ir::route::*;
use windrose_ir::{Discovery, Program};

/// An Envoy that runs a program, until dropped.
struct Envoy {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    fn start(program: &Program, listening: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.pb");
        let resources = fixture::complete(&fixture::renderer().full(program));
        std::fs::write(&path, windrose_envoy::inline::bootstrap(&resources)).unwrap();
        let binary = std::env::var_os("ENVOY").expect("ENVOY names an Envoy 1.40 binary");
        let arguments = ["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"];
        let process = Command::new(binary).args(arguments).arg(&path).spawn().unwrap();
        let envoy = Self { process, _folder: folder };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(listening).is_err() {
            assert!(Instant::now() < end, "Envoy does not listen on {listening}");
            std::thread::sleep(Duration::from_millis(20));
        }
        envoy
    }
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.61:0").unwrap().local_addr().unwrap()
}

/// A server that answers each request with its head.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.61:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer_all(&mut stream.unwrap()));
        }
    });
    address
}

fn answer_all(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
        // A body without a length is read to its end first: an early answer would hide that it was refused.
        let chunked = head.windows(8).any(|part| part == b"chunked\r");
        if head.ends_with(if chunked { b"\r\n0\r\n\r\n" } else { b"\r\n\r\n" }) {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
            stream.write_all(&[answer.as_bytes(), &head].concat()).unwrap();
            head.clear();
        }
    }
}

/// One request, given by its head without the end; status and all that came back.
fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{head}\r\nconnection: close\r\n\r\n{body}").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !is_complete(&answer) && stream.read_exact(&mut byte).is_ok() {
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {answer:?}")), answer)
}

/// Envoy gives every answer here a length.
fn is_complete(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = line(head, "content-length").and_then(|length| length.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn get(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nhost: {host}"), "")
}

fn line<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn rewritten(name: &str, prefix: &str, path: PathRewrite) -> Route {
    let rewrite = Rewrite { host: None, path: Some(path) };
    let action = RouteAction::Forward(Box::new(Forward { rewrite, ..forward(vec![backend("echo", 1)]) }));
    route(name, PathMatch::Prefix(text(prefix)), action)
}

fn paths() -> Vec<Route> {
    let prefix = |new: &str| PathRewrite::Prefix(text(new));
    let split = RouteAction::Forward(Box::new(forward(vec![WeightedBackend { cluster: None, ..backend("", 999) }, backend("echo", 1)])));
    let mut headers = route("headers", PathMatch::Exact(text("/headers")), to("echo"));
    headers.request_headers = HeaderChanges {
        set: vec![(text("host"), text("set.example")), (text("x-percent"), text("100% %REQ(x)%"))],
        add: vec![(text("x-empty"), text(""))],
        remove: vec![text("x-gone")],
    };
    let redirect =
        |path| RouteAction::Redirect(Redirect { scheme: Some(text("https")), host: None, port: None, path: Some(path), status: 307 });
    vec![
        headers,
        route("split", PathMatch::Prefix(text("/split")), split),
        rewritten("foo", "/foo", prefix("/xyz")),
        rewritten("foo-slash", "/foo2/", prefix("/xyz/")),
        rewritten("gone", "/gone", prefix("/")),
        rewritten("dot", "/a.b", prefix("")),
        rewritten("full", "/full", PathRewrite::Full(text("/new\\1"))),
        route("moved", PathMatch::Prefix(text("/moved")), redirect(prefix("/"))),
        rewritten("rest", "/", prefix("/root")),
    ]
}

fn program(echo: SocketAddr, [plain, scoped, other, limited, closed]: [SocketAddr; 5]) -> Program {
    let mut program = Program::default();
    program.clusters.insert(text("echo"), Arc::new(cluster(Discovery::Static(endpoints(&[&echo.to_string()])))));
    let mut listen = |name: &str, listener: Listener| program.listeners.insert(text(name), Arc::new(listener));
    let table = |name: &str| RouteSource::Table(text(name));
    listen("plain", http(&plain.to_string(), table("paths")));
    listen("scoped", http(&scoped.to_string(), RouteSource::Scoped(text("one"))));
    listen("other", http(&other.to_string(), RouteSource::Scoped(text("two"))));
    let with = |address: SocketAddr, handler: HttpHandler| {
        fixture::listener(&address.to_string(), vec![fixture::chain("http", Transport::Plain, Handler::Http(Box::new(handler)))])
    };
    let base = handler(table("paths"));
    listen("limited", with(limited, HttpHandler { limits: HttpLimits { max_body_bytes: Some(10), ..base.limits }, ..base.clone() }));
    listen("closed", with(closed, HttpHandler { filters: vec![HttpFilter::Extension(text("absent"))], ..base }));
    let mut add = |name: &str, hosts: Vec<VirtualHost>| program.routes.insert(text(name), Arc::new(RouteTable::from_iter(hosts)));
    add("paths", vec![virtual_host("shop", &["shop.example"], paths())]);
    let host = |name: &str, action| virtual_host(name, &[name], vec![route("all", PathMatch::Prefix(text("/")), action)]);
    add("one", vec![host("a.example", to("echo")), host("b.example", answer(200, "one"))]);
    add("two", vec![host("a.example", answer(202, "two"))]);
    program
}

#[test]
fn routes_do_what_they_say() {
    let addresses = [free(), free(), free(), free(), free()];
    let [plain, scoped, other, limited, closed] = addresses;
    let _envoy = Envoy::start(&program(echo(), addresses), closed);
    prefixes_are_replaced_by_whole_segments(plain);
    headers_are_sent_as_they_were_declared(plain);
    assert_eq!(get(plain, "shop.example", "/split").0, 500, "a share without a backend");
    assert_eq!(line(&get(plain, "shop.example", "/moved/x").1, "location"), Some("https://shop.example/x"));
    hosts_are_found_however_they_are_spelled(plain);
    scopes_belong_to_their_listener(scoped, other);
    bodies_are_bounded(limited);
    assert_eq!(get(closed, "shop.example", "/foo").0, 403, "a filter that is not there");
}

fn prefixes_are_replaced_by_whole_segments(plain: SocketAddr) {
    let cases = [
        ("/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz"),
        ("/foo/", "/xyz/"),
        ("/foo/bar?q=1", "/xyz/bar?q=1"),
        ("/foo2/bar", "/xyz/bar"),
        ("/foo2", "/xyz"),
        ("/foobar", "/root/foobar"),
        ("/gone/bar", "/bar"),
        ("/gone/", "/"),
        ("/gone", "/"),
        ("/gone?q=1", "/?q=1"),
        ("/a.b/c", "/c"),
        ("/axb/c", "/root/axb/c"),
        ("/full/x?q=1", "/new\\1?q=1"),
        ("/", "/root/"),
    ];
    for (path, expected) in cases {
        let (status, answer) = get(plain, "shop.example", path);
        let seen = answer.lines().find(|line| line.starts_with("GET ")).unwrap_or_default();
        assert_eq!((status, seen), (200, &*format!("GET {expected} HTTP/1.1")), "{path}");
    }
}

fn headers_are_sent_as_they_were_declared(plain: SocketAddr) {
    let (_, answer) = ask(plain, "GET /headers HTTP/1.1\r\nhost: shop.example\r\nx-gone: 1\r\nx-envoy-max-retries: 9", "");
    let head = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(line(head.1, "host"), Some("set.example"));
    assert_eq!(line(head.1, "x-percent"), Some("100% %REQ(x)%"));
    assert!(head.1.contains("x-empty:") && !head.1.contains("x-gone"), "{answer}");
    assert!(!head.0.contains("server:") && !head.0.contains("x-envoy"), "{answer}");
    assert!(!head.1.contains("x-envoy-internal") && !head.1.contains("x-envoy-max-retries"), "{answer}");
    let underscore = ask(plain, "GET /headers HTTP/1.1\r\nhost: shop.example\r\nx_gone: 1", "");
    assert_eq!(underscore.0, 400);
}

fn hosts_are_found_however_they_are_spelled(plain: SocketAddr) {
    for host in ["shop.example", "shop.example:8080", "SHOP.example", "shop.example.", "shop.example.:80"] {
        assert_eq!(get(plain, host, "/foo").0, 200, "{host}");
    }
    assert_eq!(get(plain, "other.example", "/foo").0, 404);
}

fn scopes_belong_to_their_listener(scoped: SocketAddr, other: SocketAddr) {
    assert_eq!(get(other, "a.example", "/").0, 202);
    assert_eq!(get(other, "b.example", "/").0, 404, "the other listener's host");
    let spoofed = ask(other, "GET / HTTP/1.1\r\nhost: b.example\r\nx-windrose-table: one\r\nx-windrose-host: a.example", "");
    assert_eq!(spoofed.0, 404, "a client names table and host");
    for host in ["a.example", "a.example:8080", "A.example", "a.example.", "A.EXAMPLE.:80"] {
        let (status, answer) = get(scoped, host, "/");
        assert_eq!(status, 200, "{host}");
        assert!(!answer.contains("x-windrose"), "{answer}");
    }
    for host in ["c.example", "C.example", "a.example.b", "[::1]"] {
        assert_eq!(get(scoped, host, "/").0, 404, "{host}");
    }
}

fn bodies_are_bounded(limited: SocketAddr) {
    let post = |headers: &str, body: &str| ask(limited, &format!("POST /foo HTTP/1.1\r\nhost: shop.example\r\n{headers}"), body).0;
    assert_eq!(post("content-length: 10", "0123456789"), 200);
    assert_eq!(post("content-length: 11", "0123456789a"), 413);
    assert_eq!(post("transfer-encoding: chunked", "b\r\n0123456789a\r\n0\r\n\r\n"), 413);
}
