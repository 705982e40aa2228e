"""The FASA model, in the paper's order.

Shape legend, used in every docstring and trailing comment:

    B  batch            H x W  the image at the resolution the side backbone works at
    C  channels         h x w  a feature grid: a stage's, or the semantic encoder's patch grid
    D  shared dimension L      tokens, h * w of the patch grid
    S  stages (4)       K      attention heads

Equation index:

    Eq. 1      frequency.AdaptiveDualBandDCT
    Eqs. 2-3   semantics.PatchSemanticAlignment
    Eq. 4      semantics.Prototypes (similarities), losses.contrastive_loss (the objective)
    Eq. 5      adapter.SemanticFrequencySideAdapter
    Eqs. 6-7   decoder.PrototypeGuidedMaskDecoder
    Eqs. 8-9   fasa.Fasa.forward and fasa.image_score
    Eq. 10     losses.FasaLoss

Not in the paper: `compact/`, the backbones of the preset of that name, local DCT statistics that
join its side backbone, and tiles for large photos. `presets` builds the backbones.

`Ours:` marks each reconstruction: what the paper's text leaves open, and why we read it so.
"""
