//! The export line of a filter: `windrose_filter_shell::export!(JwtAuth: request_headers);` makes the module's exports,
//! and of the stream callbacks only those it names.

/// Exports one filter of the kit as a proxy-wasm module; once per crate.
#[macro_export]
macro_rules! export {
    ($filter:ty: $($callback:ident),+ $(,)?) => {
        ::std::thread_local! {
            static SHELL: $crate::Shell<$filter> = ::core::default::Default::default();
        }

        /// The ABI that this module speaks.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_abi_version_0_2_1() {}

        /// Runs the constructors of the module's statics.
        #[unsafe(no_mangle)]
        pub extern "C" fn _initialize() {
            $crate::construct();
        }

        /// Memory for bytes that the host hands over.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_memory_allocate(len: usize) -> *mut u8 {
            $crate::allocate(len)
        }

        /// A filter (parent 0) or a stream begins.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
            SHELL.with(|shell| shell.on_create(id, parent));
        }

        /// The plugin configuration is here.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_configure(filter: u32, len: usize) -> u32 {
            SHELL.with(|shell| shell.on_configure(filter, len))
        }

        /// A filter or a stream ends.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_delete(id: u32) {
            SHELL.with(|shell| shell.on_delete(id));
        }

        $($crate::export_callback!($callback);)+
    };
}

/// One stream callback of [`export!`].
#[doc(hidden)]
#[macro_export]
macro_rules! export_callback {
    (request_headers) => {
        /// Request headers.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_request_headers(stream: u32, _count: u32, end_of_stream: u32) -> u32 {
            SHELL.with(|shell| shell.on_request_headers(stream, end_of_stream != 0))
        }
    };
    (request_body) => {
        /// Request body.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_request_body(stream: u32, size: usize, end_of_stream: u32) -> u32 {
            SHELL.with(|shell| shell.on_request_body(stream, size, end_of_stream != 0))
        }
    };
    (request_trailers) => {
        /// Request trailers.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_request_trailers(stream: u32, _count: u32) -> u32 {
            SHELL.with(|shell| shell.on_request_trailers(stream))
        }
    };
    (response_headers) => {
        /// Response headers.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_response_headers(stream: u32, _count: u32, end_of_stream: u32) -> u32 {
            SHELL.with(|shell| shell.on_response_headers(stream, end_of_stream != 0))
        }
    };
    (response_body) => {
        /// Response body.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_response_body(stream: u32, size: usize, end_of_stream: u32) -> u32 {
            SHELL.with(|shell| shell.on_response_body(stream, size, end_of_stream != 0))
        }
    };
    (response_trailers) => {
        /// Response trailers.
        #[unsafe(no_mangle)]
        pub extern "C" fn proxy_on_response_trailers(stream: u32, _count: u32) -> u32 {
            SHELL.with(|shell| shell.on_response_trailers(stream))
        }
    };
}
