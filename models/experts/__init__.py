"""Vision experts: who looks first, decides whether an image is normal, and says where it is not (VELM, Sec. 3.1)."""
