<?php
/**
 * Messages to guests: visitors without a login, whom pullgate knows by a negative number.
 *
 *     \Pullgate\Guest::send([-17], ['module_id' => 'shop', 'command' => 'hello', 'params' => ['a' => 1]]);
 *
 * They go to pullgate's publish listener by number, so no module has to know a channel of the guest's.
 * The listener is named by the constant PULLGATE_PUBLISH_URL, else by the environment variable of that
 * name: "http://host:port", "https://host" or "unix:/path". Without either, http://127.0.0.1:8895.
 *
 * PHP 7.2 and later, no extension, with Bitrix or without, by Composer or by a plain require.
 */

namespace Pullgate;

class Guest
{
    /** Guests per request: keeps its line far below what any server in between takes. */
    const AT_ONCE = 100;

    /** Seconds a message is kept for who is away, as the module has it. */
    const EXPIRY = 86400;

    /** A page must not hang on a push server that is down: seconds to connect, and for a whole request. */
    const CONNECT_TIMEOUT = 1.0;
    const TIMEOUT = 3.0;

    private static $error = '';

    /**
     * Sends a message to guests: [-17, -18].
     *
     * The message is what CPullStack::AddByUser() takes: module_id and command; optional are params,
     * expiry (seconds, 86400; 0 for those who listen now alone) and extra (added to what the module says
     * there). Anything else in it is not sent.
     *
     * False when pullgate could not be reached or refused; lastError() says why, and some of the guests
     * may have been reached. A page can go on without having sent a message, so this throws for a mistake
     * of the caller alone.
     *
     * @throws \InvalidArgumentException for a number that is no guest's, or a message without a command
     */
    public static function send(array $guests, array $message): bool
    {
        $numbers = [];
        foreach ($guests as $guest) {
            $numbers[] = self::number($guest);
        }
        return self::publish(\array_unique($numbers), $message);
    }

    /**
     * Sends a message to all guests, whoever they are.
     *
     * @throws \InvalidArgumentException for a message without a command
     */
    public static function sendToAll(array $message): bool
    {
        return self::publish([0], $message);
    }

    /**
     * Sends a message to everybody: to users by the module's shared channel, to guests by pullgate's. It is
     * one message, so that a browser that listens to both has it once. Null, and nothing is sent, where the
     * module has no such channel.
     *
     * @throws \InvalidArgumentException for a message without a command
     */
    public static function sendShared(array $message): ?bool
    {
        $shared = self::hasModule() ? \CPullChannel::Get(0) : false;
        return empty($shared['CHANNEL_ID']) ? null : self::publish([0], $message, '&CHANNEL_ID=' . $shared['CHANNEL_ID']);
    }

    /**
     * The guest has logged in as a user: what is stored for the guest goes to the user's channel, once.
     *
     * $channel is the user's private channel, 32 hex digits. With Bitrix it need not be named; where there
     * is none to name, nothing goes anywhere.
     *
     * $release gives the number up: whoever uses the browser after a logout is a new guest. Without it they
     * are the same guest again, and get what was sent to that guest in the meantime. It takes a header of
     * this page's, so call before there is output. It happens even if the messages could not go along.
     *
     * False and lastError() as with send().
     *
     * @throws \InvalidArgumentException for a number that is no guest's, no user's, or no channel
     */
    public static function login(int $guest, int $userId, ?string $channel = null, bool $release = true): bool
    {
        self::number($guest);
        if ($userId <= 0) {
            throw self::mistake("$userId is not the number of a user");
        }
        if ($channel !== null && !\preg_match('/^[0-9a-f]{32}$/D', $channel)) {
            throw self::mistake('a channel has 32 hex digits');
        }
        self::$error = '';
        if ($channel === null && self::hasModule()) {
            $found = \CPullChannel::Get($userId);
            $channel = isset($found['CHANNEL_ID']) ? $found['CHANNEL_ID'] : null;
            if ($channel === null) {
                self::$error = "the pull module has no channel for user $userId";
            }
        }
        if ($channel !== null) {
            self::$error = self::post("/pullgate/login?guest=$guest&channel=$channel", '', [])[1];
        }
        // The header speaks of the visitor whose hit this is, who need not be the guest.
        if ($release && (!\function_exists('Pullgate\guest_id') || guest_id() === $guest)) {
            if (\headers_sent($file, $line)) {
                self::$error = "the number cannot be released: output has begun at $file:$line";
            } else {
                \header('Pull-User-Release: true');
            }
        }
        return self::$error === '';
    }

    /** Why the last send() or login() returned false or threw, or what Stack.php found wrong since; else ''. */
    public static function lastError(): string
    {
        return self::$error;
    }

    /** What is wrong with how these files are installed: for the site's log, and for lastError(). */
    public static function complain(string $what)
    {
        self::$error = $what;
        if (\defined('LOG_FILENAME') && \function_exists('AddMessage2Log')) {
            \AddMessage2Log($what, 'pullgate');
        } else {
            \error_log("pullgate: $what");
        }
    }

    private static function mistake(string $what): \InvalidArgumentException
    {
        self::$error = $what;
        return new \InvalidArgumentException($what);
    }

    /** One request per hundred numbers, each with the same body; $more goes into its query. */
    private static function publish(array $numbers, array $message, string $more = ''): bool
    {
        $body = self::body($message);
        $expiry = isset($message['expiry']) ? \max(0, (int)$message['expiry']) : self::EXPIRY;
        self::$error = '';
        foreach (\array_chunk($numbers, self::AT_ONCE) as $some) {
            $target = '/bitrix/pub/?USER_ID=' . \implode('/', $some) . $more;
            list($status, $error) = self::post($target, $body, ["Message-Expiry: $expiry"]);
            if (self::$error === '') {
                self::$error = $error;
            }
            // A number that is refused is no reason to leave out the other hundreds. A server that is
            // down is: each of them would wait for it.
            if ($error !== '' && ($status < 400 || $status >= 500)) {
                break;
            }
        }
        return self::$error === '';
    }

    /** The number of a guest as an int; site code often has it as a string. */
    private static function number($guest): int
    {
        $range = ['options' => ['min_range' => -2147483647, 'max_range' => -1]];
        $number = \is_int($guest) || \is_string($guest) ? \filter_var($guest, FILTER_VALIDATE_INT, $range) : false;
        if ($number === false) {
            $found = \is_scalar($guest) ? \json_encode($guest) : \gettype($guest);
            throw self::mistake("$found is not the number of a guest, such as -17");
        }
        return $number;
    }

    /** The message as the module writes it. */
    private static function body(array $message): string
    {
        foreach (['module_id', 'command'] as $key) {
            if (!isset($message[$key]) || !\is_string($message[$key]) || \trim($message[$key]) === '') {
                throw self::mistake("the message has no $key");
            }
        }
        foreach (['params', 'extra'] as $key) {
            if (isset($message[$key]) && !\is_array($message[$key])) {
                throw self::mistake("$key of the message is not an array");
            }
        }
        $json = self::json([
            'module_id' => \strtolower(\trim($message['module_id'])),
            'command' => \trim($message['command']),
            'params' => isset($message['params']) ? $message['params'] : [],
            'extra' => (isset($message['extra']) ? $message['extra'] : []) + [
                'server_time' => \date('c'),
                'server_time_unix' => \microtime(true),
                'server_name' => self::serverName(),
                'revision_web' => \defined('PULL_REVISION_WEB') ? \PULL_REVISION_WEB : 19,
                'revision_mobile' => \defined('PULL_REVISION_MOBILE') ? \PULL_REVISION_MOBILE : 3,
            ],
        ]);
        // The text protocol frames messages by these words. A visitor's text that holds them must not end
        // the frame and begin a message of its own.
        return \str_replace('#!NGINXNM', '\u0023!NGINXNM', $json);
    }

    private static function json(array $value): string
    {
        // Bitrix's encoder knows the site's charset, which need not be UTF-8.
        if (\class_exists('Bitrix\Main\Web\Json')) {
            try {
                return \Bitrix\Main\Web\Json::encode($value);
            } catch (\Exception $error) {
                throw self::mistake('the message: ' . $error->getMessage());
            }
        }
        $options = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE;
        $json = \json_encode($value, $options);
        if ($json === false) {
            throw self::mistake('the message: ' . \json_last_error_msg());
        }
        return $json;
    }

    private static function serverName(): string
    {
        $name = isset($_SERVER['SERVER_NAME']) ? (string)$_SERVER['SERVER_NAME'] : '';
        return \class_exists('COption') ? (string)\COption::GetOptionString('main', 'server_name', $name) : $name;
    }

    private static function hasModule(): bool
    {
        if (\class_exists('CModule')) {
            \CModule::IncludeModule('pull');
        }
        return \class_exists('CPullChannel');
    }

    /** The publish listener: its address for PHP's sockets and its name for Host; nulls for a URL that is none. */
    private static function listener(string $url): array
    {
        if (\strpos($url, 'unix:/') === 0) {
            return ['unix://' . \substr($url, \strlen('unix:')), 'localhost'];
        }
        if (!\preg_match('~^(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]+)?/?$~Di', $url, $parts)) {
            return [null, null];
        }
        $tls = \strtolower($parts[1]) === 'https';
        $port = isset($parts[3]) ? $parts[3] : ($tls ? ':443' : ':80');
        return [($tls ? 'tls://' : 'tcp://') . $parts[2] . $port, $parts[2] . $port];
    }

    /**
     * The status, 0 when there was no answer, and what went wrong, '' when nothing did.
     *
     * Sockets and not curl, so that it is the same on every host: one deadline over all, unix sockets, and
     * no proxy from the environment between the site and its own push server.
     */
    private static function post(string $target, string $body, array $headers): array
    {
        $url = \defined('PULLGATE_PUBLISH_URL') ? \PULLGATE_PUBLISH_URL : \getenv('PULLGATE_PUBLISH_URL');
        list($address, $host) = self::listener($url ?: 'http://127.0.0.1:8895');
        if ($address === null) {
            return [0, "PULLGATE_PUBLISH_URL: $url is neither http://host:port nor unix:/path"];
        }
        $headers[] = "Host: $host";
        $headers[] = 'Content-Type: text/plain; charset=utf-8';
        $headers[] = 'Content-Length: ' . \strlen($body);
        $headers[] = 'Connection: close';
        $request = "POST $target HTTP/1.0\r\n" . \implode("\r\n", $headers) . "\r\n\r\n$body";
        $deadline = \microtime(true) + self::TIMEOUT;
        $answer = self::exchange($address, $request, $deadline);
        if ((int)$answer === 503 && \microtime(true) + 0.5 < $deadline) {
            \usleep(100000); // 503 says "not now", such as while the server starts
            $answer = self::exchange($address, $request, $deadline);
        }
        $status = (int)$answer;
        return [$status, $status === 200 ? '' : "pullgate at $address: $answer"];
    }

    /** "200 text" of the answer, or a sentence without a number in front. */
    private static function exchange(string $address, string $request, float $deadline): string
    {
        $stream = @\stream_socket_client($address, $code, $reason, self::CONNECT_TIMEOUT);
        if ($stream === false) {
            return 'no connection' . ($reason === '' ? '' : ": $reason");
        }
        // Whoever refuses a request may close before all of it has come; the answer tells why.
        while ($request !== '' && self::limit($stream, $deadline)) {
            $written = @\fwrite($stream, $request);
            if (!$written) {
                break;
            }
            $request = (string)\substr($request, $written);
        }
        $answer = '';
        while (\strlen($answer) < 65536 && self::limit($stream, $deadline)) {
            $part = @\fread($stream, 8192);
            if ($part === false || $part === '') {
                break;
            }
            $answer .= $part;
        }
        \fclose($stream);
        $parts = \explode("\r\n\r\n", $answer, 2);
        if (isset($parts[1]) && \preg_match('~^HTTP/1\.[01] ([0-9]{3})\b~', $answer, $status)) {
            return \trim($status[1] . ' ' . \substr($parts[1], 0, 500));
        }
        $early = \microtime(true) + 0.05 < $deadline; // a socket's timeout may end a little before its time
        return $early ? 'no answer' : 'no answer in ' . self::TIMEOUT . ' s';
    }

    /** Lets the next read or write take what is left until the deadline; false when nothing is. */
    private static function limit($stream, float $deadline): bool
    {
        $left = $deadline - \microtime(true);
        if ($left <= 0) {
            return false;
        }
        return \stream_set_timeout($stream, (int)$left, (int)(\fmod($left, 1) * 1000000));
    }
}
