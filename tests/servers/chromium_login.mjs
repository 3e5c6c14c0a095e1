// A person at a browser: Chromium, headless, logs in on the provider's pages, consents, and comes back to whoever sent it there.
import chromium from "@sparticuz/chromium";
import { chromium as playwright } from "playwright-core";

const [url, email] = process.argv.slice(2);
const browser = await playwright.launch({
  executablePath: await chromium.executablePath(),
  args: chromium.args.filter((argument) => argument !== "--single-process"),
  headless: true,
});
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  await page.fill("input[name=login]", email);
  await page.fill("input[name=password]", "any");
  await page.click("button[type=submit]");
  await page.click("button[type=submit]");
  await page.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/callback/);
  console.log(JSON.stringify({ version: browser.version(), text: await page.innerText("body") }));
} finally {
  await browser.close();
}
