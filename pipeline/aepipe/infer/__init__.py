"""The tasks of `aepipe infer`: inputs and outputs of any size, streamed, tiled and spread over machines."""
