<?php
/**
 * CPullStack for sites whose guests have numbers: what is for a guest goes to pullgate, all else to the
 * pull module, unchanged.
 *
 * Current modules drop a message to a negative number without a word. A file that sends needs one line more,
 * and no call in it changes:
 *
 *     use Pullgate\Stack as CPullStack;
 *
 *     CPullStack::AddByUser(-17, ['module_id' => 'shop', 'command' => 'hello', 'params' => []]);
 *
 * Calls that begin with a backslash (\CPullStack::…) or go to \Bitrix\Pull\Event do not come by here.
 */

namespace Pullgate;

if (!\class_exists('Pullgate\Guest')) { // without Composer
    require_once __DIR__ . '/Guest.php';
}

class Stack
{
    /** As CPullStack::AddByUser(); the channel type and what may follow it are the module's. */
    public static function AddByUser($userId, $arMessage, ...$more)
    {
        return self::isGuest($userId)
            ? self::toGuests([$userId], $arMessage)
            : \CPullStack::AddByUser($userId, $arMessage, ...$more);
    }

    /** As CPullStack::AddByUsers(), for users and guests together. */
    public static function AddByUsers($users, $arMessage, ...$more)
    {
        $guests = \is_array($users) ? \array_filter($users, [self::class, 'isGuest']) : [];
        if (!$guests) {
            return \CPullStack::AddByUsers($users, $arMessage, ...$more);
        }
        $others = \array_diff_key($users, $guests);
        $sent = !$others || \CPullStack::AddByUsers($others, $arMessage, ...$more);
        return self::toGuests($guests, $arMessage) && $sent;
    }

    /** As CPullStack::AddShared(): everybody on the site, and that includes the guests. */
    public static function AddShared($arMessage, ...$more)
    {
        $sent = \CPullStack::AddShared($arMessage, ...$more);
        try {
            return Guest::sendToAll($arMessage) && $sent;
        } catch (\InvalidArgumentException $error) {
            return false;
        }
    }

    /** The rest of CPullStack. */
    public static function __callStatic($name, array $arguments)
    {
        return \CPullStack::$name(...$arguments);
    }

    private static function isGuest($id): bool
    {
        return (\is_int($id) || \is_string($id)) && \preg_match('/^-[1-9][0-9]*$/D', $id);
    }

    /** False for a message that is none, as the module answers; Guest::lastError() says what it lacks. */
    private static function toGuests(array $guests, $message): bool
    {
        try {
            return \is_array($message) && Guest::send($guests, $message);
        } catch (\InvalidArgumentException $error) {
            return false;
        }
    }
}
