//! Safe wrappers of FAISS, BLAS and ONNX Runtime: the only room with `unsafe`.
