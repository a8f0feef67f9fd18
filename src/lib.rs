//! Okaeri: personal e-mail that brings customers back.
