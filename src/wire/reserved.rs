//! Arguments that the protocol keeps a place for and gives no meaning.

use std::marker::PhantomData;

use crate::model::{
    malformed::Malformed,
    octets::{Field, Reader, Writer},
};

/// An argument without a meaning: read over, and written as its type's empty value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved<T>(PhantomData<T>);

impl<T: Field + Default> Field for Reserved<T> {
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        T::read(from).map(|_| Self(PhantomData))
    }
    fn write(&self, to: &mut Writer<'_>) {
        T::default().write(to);
    }
}
