"""What the preset `compact` adds to the paper's blocks.

In reading order: `efficientnet` (the architecture of its pretrained semantic encoder), `encoders`,
`side` (its side backbone), `dct_statistics` (local DCT statistics that join the side backbone),
`tiling` (large photos).
"""
