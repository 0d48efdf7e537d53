"""The released GLM-Image files ("published" throughout), read and written.

Reading order: tensor_files, read_config, write_config, snapshot.
"""
