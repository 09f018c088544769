/** The camera: frames as pictures, and how many of them a second get explained. */

import { PageError } from "./picture.js";

const LONGEST = 640; // pixels of a frame: what is behind it is scaled down by the model anyway
const REMEMBERED = 12; // frames that the rate is taken of

const REFUSED = {
  NotAllowedError: ["The camera was not allowed", "Allow it in the browser's address bar"],
  NotFoundError: ["There is no camera here", "Choose a picture instead"],
  NotReadableError: ["The camera is in use by another program", "Close that and try again"],
};

/** Whether this browser hands out cameras: it does on localhost and behind https only. */
export const possible = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** A camera that is on. */
export class Camera {
  /** Switch the camera on, that at the back where there are two. */
  static async on() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "environment", width: { ideal: 1280 } },
        audio: false,
      });
    } catch (error) {
      const [what, hint] = REFUSED[error.name] ?? [`The camera does not start: ${error.message}`];
      throw new PageError(what, hint);
    }
    const video = Object.assign(document.createElement("video"), {
      srcObject: stream,
      muted: true,
      playsInline: true,
    });
    await video.play();
    return new Camera(stream, video);
  }

  constructor(stream, video) {
    Object.assign(this, { stream, video, times: [] });
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  }

  /** What the camera sees now: a picture as `decode` returns one. */
  frame() {
    const { videoWidth, videoHeight } = this.video;
    const ratio = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const [width, height] = [videoWidth, videoHeight].map((n) => Math.max(1, Math.round(n * ratio)));
    if (this.canvas.width !== width) [this.canvas.width, this.canvas.height] = [width, height];
    this.context.drawImage(this.video, 0, 0, width, height);
    const rgba = this.context.getImageData(0, 0, width, height).data;
    const data = new Uint8ClampedArray(width * height * 3);
    for (let from = 0, to = 0; to < data.length; from += 4) {
      data[to++] = rgba[from];
      data[to++] = rgba[from + 1];
      data[to++] = rgba[from + 2];
    }
    return { width, height, channels: 3, data };
  }

  /** Note that a frame was shown; return how many are, a second. */
  shown(now = performance.now()) {
    this.times = [...this.times, now].slice(-REMEMBERED);
    const seconds = (now - this.times[0]) / 1000;
    return seconds > 0 ? (this.times.length - 1) / seconds : 0;
  }

  /** Switch it off: its lamp goes out. */
  off() {
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
  }
}
