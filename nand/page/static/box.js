// A box drawn on a picture with the pointer, or given in pixels: [x, y, width, height] of the image itself.

const FIELDS = ['x', 'y', 'w', 'h'];

export class Box {
  constructor(stage, frame, field, changed) {
    this.stage = stage;
    this.frame = frame;
    this.inputs = FIELDS.map(field);
    this.changed = changed;
    this.size = [0, 0];
    this.value = null;
    this.from = null;
    stage.addEventListener('pointerdown', (event) => this.begin(event));
    stage.addEventListener('pointermove', (event) => this.move(event));
    stage.addEventListener('pointerup', () => { this.from = null; });
    stage.addEventListener('pointercancel', () => { this.from = null; });
    this.inputs.forEach((input) => input.addEventListener('input', () => this.typed()));
  }

  // Of an image of this size in pixels.
  reset(size, value = null) {
    this.size = size;
    this.set(value);
  }

  set(value) {
    this.value = value;
    this.inputs.forEach((input, i) => { input.value = value ? value[i] : ''; });
    this.draw();
    this.changed(value);
  }

  typed() {
    const numbers = this.inputs.map((input) => Number(input.value));
    const given = this.inputs.every((input) => input.value !== '');
    const [x, y, w, h] = numbers;
    const fits = w >= 1 && h >= 1 && x + w <= this.size[0] && y + h <= this.size[1];
    this.value = given && fits && numbers.every(Number.isInteger) ? numbers : null;
    this.draw();
    const said = this.inputs.some((input) => input.value !== '');
    this.changed(this.value, said && !this.value ? `The box has to lie within ${this.size[0]} × ${this.size[1]} pixels.` : '');
  }

  at(event) {
    const area = this.stage.getBoundingClientRect();
    const share = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
    return share.map((one, i) => Math.round(Math.min(1, Math.max(0, one)) * this.size[i]));
  }

  begin(event) {
    if (event.button) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    this.from = this.at(event);
  }

  move(event) {
    if (!this.from) return;
    const to = this.at(event);
    const low = [0, 1].map((i) => Math.min(this.from[i], to[i]));
    const side = [0, 1].map((i) => Math.abs(this.from[i] - to[i]));
    if (side[0] && side[1]) this.set([...low, ...side]);
  }

  draw() {
    this.frame.hidden = !this.value;
    if (!this.value) return;
    const percent = (value, i) => `${(100 * value) / this.size[i % 2]}%`;
    const [left, top, width, height] = this.value.map(percent);
    Object.assign(this.frame.style, { left, top, width, height });
  }
}
