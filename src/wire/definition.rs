//! What one entry of the table of methods becomes: a struct, a variant, and their encoding.

/// Reads an argument: text by default, any octets where RabbitMQ does not look at the text.
macro_rules! argument {
    ($from:ident, $type:ty) => {
        <$type as Field>::read($from)?
    };
    ($from:ident, $type:ty, octets) => {
        <$type>::from($from.short_octets()?)
    };
}

macro_rules! has_content {
    () => {
        false
    };
    (content) => {
        true
    };
}

/// Makes of each entry `Struct = class, method, "name" { arguments }` a struct and a variant.
/// `content` says that content follows, `as octets` that the text need not be valid UTF-8.
macro_rules! methods {
    ($($(#[$doc:meta])* $method:ident = $class_id:literal, $method_id:literal, $name:literal
        $($content:ident)? { $($field:ident: $type:ty $(as $octets:ident)?),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $method { $(pub $field: $type),* }

            impl From<$method> for Method {
                fn from(method: $method) -> Self {
                    Self::$method(method)
                }
            }
        )*

        /// Any method of the protocol.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Method { $($method($method)),* }

        impl Method {
            /// Every method, for whoever compares them with the specification.
            pub const TABLE: &[Row] = &[$(Row {
                id: ($class_id, $method_id),
                name: $name,
                has_content: has_content!($($content)?),
                arguments: &[$((stringify!($field), stringify!($type))),*],
            }),*];

            /// The class and the method that name this method on the wire.
            pub fn id(&self) -> (u16, u16) {
                match self { $(Self::$method(_) => ($class_id, $method_id)),* }
            }

            /// The name in the specification, such as `queue.declare`.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$method(_) => $name),* }
            }

            /// Whether a content header and body frames follow.
            pub fn has_content(&self) -> bool {
                match self { $(Self::$method(_) => has_content!($($content)?)),* }
            }

            /// Reads the arguments of the method that `id` names.
            pub fn read(id: (u16, u16), from: &mut Reader<'_>) -> Result<Self, Malformed> {
                match id {
                    $(($class_id, $method_id) => Ok(Self::$method($method {
                        $($field: argument!(from, $type $(, $octets)?)),*
                    })),)*
                    (class, method) => Err(Malformed::UnknownMethod(class, method)),
                }
            }

            /// Writes the arguments, without the id.
            pub fn write(&self, to: &mut Writer<'_>) {
                match self {
                    $(Self::$method($method { $($field),* }) => {
                        let _: &[()] = &[$($field.write(to)),*];
                    })*
                }
            }
        }
    };
}
