"""What docs/sweep.md says beside its tables."""

HEAD = """# Every method against photographs with boxes

Written by `tools/sweep.py`. Each method explains the class that the model sees, by few runs
(`FEW` in the tool): the page is to tell broken from sound, not to rank what is close.
**Localisation** (pointing game, energy) asks whether the map lies in the box that a person drew;
**faithfulness** (deletion, insertion) whether the model's probability follows the map. The two are
not mixed: a model that looks beside the object has faithful maps outside of its box. Beside the
methods stand maps that know nothing of the model: a **bell** in the middle of the picture, where
photographers put the object, **noise**, and the picture's **edges**.

The photographs are of COCO, boxed by people; of the kinds of objects that ImageNet has classes of
the one is explained that the model sees best, with a probability of a twentieth at least and boxes
over 2 to 60 % of the picture. `digits-vit` is a small transformer (three blocks, a class token, 5 x
5 patches) that the tool trains in a minute to find a digit in clutter, whose box is known. Of the
shared models MobileNetV2 by torch is left out, which has the weights of `mobilenetv2` (the logits
differ by 7e-6), and the dog breeds, of which no photograph has a box of that size.
"""

PROOF = """## Does it beat what knows nothing of the model?

How much better a method is than a baseline on the same pictures: the mean of the differences and
half of its 95 % interval (Student's t over the pictures). Localisation is the mean of the pointing
game and the energy; faithfulness is insertion less deletion. **Bold**: the interval lies above 0,
the method beats the baseline; "loses": it lies below. *All photographs* are their classifiers
together: the mean over the models of each picture, then over the pictures. A model of fewer than
six pictures stands in there alone.
"""

ANSWERS = """Over all photographs Grad-CAM, Layer-CAM and RISE find the object and follow the score
better than each of the three baselines. LibraGrad is made for transformers, and does so there; a
convolutional network has no attention and no gates, and of it LibraGrad is input times gradient but
for what saturates: better than noise, no better than a bell.

Grad-CAM is the other way round. On tokens its mean of the gradient over the positions is what is
left of values that cancel: at none of eleven layers of the transformer (the patches, what goes into
each half of a block, its normalisation) does it follow the score better than the bell (insertion
less deletion at most 0.13, the bell 0.14, on 16 pictures), while element-wise Grad-CAM, which does
not average, does at all of them (0.18 to 0.23). pytorch-grad-cam gives the same numbers for the
layer that it advises, which is the default here.
"""

OVERVIEW = """## Every method on every model

Of the 12 comparisons (four measures, three baselines) how many a method wins by its mean. **Bold**:
noise beats it in three of the four measures, or in both of one kind and of the other: it is broken,
or not made for the model. `-`: the model cannot have it; the reason stands below its table.
"""

STANDS_OUT = """What stands out, and why:

- Deletion rewards what breaks the picture: fine, scattered maps, even edges. Coarse maps lose there
  to noise, while insertion and the box favour them.
- Input gradients (saliency, input x gradient, guided backpropagation, deconvnet) do not claim to
  find the object; `attnlrp`, `libragrad` and `lrp-epsilon` of a ReLU network nearly are such.
- A region (`sufficient-region`, `contrastive-region`) has one value inside and one outside: its
  pointing game is its energy, and what is deleted first inside of it is chance.
- `random-cam` is a baseline of its own: the layer with one draw of random weights for all pictures.
- `internal-influence` is a mean gradient. Where a mean over space and a linear layer follow the
  layer, as in these classifiers of photographs, that is the same at all positions: the map is
  constant, the picture says so, and only an earlier layer is worth asking.
- `craft` makes concepts of what is above 0. Of tokens that leaves half out: the map says so, and
  is worth nothing there. `dff` counts it as 0 as well.
- On tokens a channel is 0 nowhere, so that setting it to 0 (`ablation-cam`) is no absence; in
  `xgradcam` the sum that it divides by cancels, as the gradient does in `gradcam`, `gradcam++` and
  `sess`. Of `legrad` the second block's part follows the score (insertion less deletion 0.20), the
  first and the last one's do not (0.10, 0.05).
- `crp` of MobileNetV2 has values near 1e-9: the z-plus rule gives a positive bias its share at each
  of 52 layers: of a score of 18.8 (`layer-lrp`, chelsea.png) 3.4 are left three layers down, 0.43
  at the twelfth block, 0.03 at the third, 0.001 at the first convolution (SqueezeNet: 31.7 of
  32.0); one channel has a thirtieth of that, over 50,176 pixels.
- RISE's values are probabilities, of which only the ranking means something: its energy depends on
  the floor that is taken off.
"""

TABLES = """## Each model

Every row of a table is of the same pictures; behind a mean stands its standard error. `-` marks a
number that is no better than that of noise, and the columns behind say in how many of the four
measures a method beats the bell, noise and edges. A map whose values are all above 0 (RISE,
Kernel-SHAP) is measured above its smallest one; the pointing game allows no margin around the box.
Seconds are the processor's for one map, on one thread. The most winning rows come first, the
baselines last.
"""
