//! How names of a fixed number of bytes are made: shown in hexadecimal, and drawn at random.

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $size]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&sahara_circuits::bytes::hex(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}
pub(crate) use id_type;

macro_rules! random_id {
    ($name:ident, $size:literal) => {
        impl $name {
            /// A random one.
            ///
            /// # Errors
            /// When the operating system gives no randomness.
            pub fn random() -> Result<Self, getrandom::Error> {
                let mut bytes = [0; $size];
                getrandom::fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }
    };
}
pub(crate) use random_id;
